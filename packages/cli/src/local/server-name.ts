/** Whether a server's name can be one in policies, in the log, and of a folder: never one that leads to another folder. */
export function isServerName(name: string): boolean {
  return /^[A-Za-z0-9_.-]{1,64}$/.test(name) && !/^\.+$/.test(name)
}
