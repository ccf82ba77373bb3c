// What is used of node itself.
declare const process: { env: Record<string, string | undefined> };
