/**
 * Node's own `node:http`. An `import` of it asks every name that it exports, and one (WebSocket) has Node load the whole of undici, which nothing here needs: 13 MB resident, and a tenth of
 * the time until a member's code is there (measured, Node 24).
 */
export const http = process.getBuiltinModule("node:http");
