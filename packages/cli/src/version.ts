/** The one version of all packages. */
export const version = '0.1.0'
