const inputSchema = { type: 'object', properties: { linger_ms: { type: 'integer' } }, additionalProperties: false }

/** What the canary lists; its definitions are what is pinned. */
export const CANARY_TOOLS: readonly { readonly name: string; readonly description: string; readonly inputSchema: object }[] = ['touch', 'touch_forbidden'].map((name) => ({ name, description: 'appends one line to the canary file', inputSchema }))
