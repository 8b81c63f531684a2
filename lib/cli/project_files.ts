/** The files of a new project: what `lovage init` writes. */

/** Where the stubs of other workers' tasks stand, below the project's folder. */
export const REMOTE_FILE = ".lovage/types/remote.d.ts";
/** What stands there as long as nobody asked for any. */
export const NO_REMOTE = `// Tasks that other workers register: "lovage types -b URL" writes them here.
export {};
`;

/** The files by path, in the order that they are told of. */
export const PROJECT_FILES: Readonly<Record<string, string>> = {
  "tasks.ts": [
    'import { App } from "lovage";',
    "",
    "// Without a broker's URL it is the embedded one: a file of this machine, and no server.",
    'export const app = new App("tasks");',
    "",
    "/** Adds two numbers: lovage -A tasks.ts call --wait tasks.add -a '[2, 3]' */",
    'export const add = app.task("tasks.add", (x: number, y: number) => x + y);',
    "",
    "/** Fetches a page, again after a failure, and reports how far it is. */",
    'export const fetchPage = app.task("tasks.fetchPage", {',
    "  bind: true,",
    "  autoretryFor: [TypeError],",
    "  retryBackoff: true,",
    "  maxRetries: 5,",
    "}, async (self, url: string) => {",
    "  const response = await fetch(url, { signal: self.signal });",
    '  await self.updateState("PROGRESS", { status: response.status });',
    "  return (await response.text()).length;",
    "});",
    "",
  ].join("\n"),
  "deno.json": `{
  "imports": { "lovage": "./.lovage/types/lovage.d.ts" }
}
`,
  "tsconfig.json": `{
  "compilerOptions": {
    "target": "ESNext",
    "module": "ESNext",
    "moduleResolution": "bundler",
    "lib": ["ESNext", "DOM", "DOM.Iterable"],
    "strict": true,
    "noEmit": true,
    "skipLibCheck": true,
    "allowImportingTsExtensions": true,
    "verbatimModuleSyntax": true,
    "paths": { "lovage": ["./.lovage/types/lovage.d.ts"] }
  }
}
`,
  ".gitignore": `node_modules/
*.db
*.db-*
`,
};

/** What an existing configuration must say for "lovage" to be known, by its path. */
export const WANTED_LINES: Readonly<Record<string, string>> = {
  "deno.json": `"imports": { "lovage": "./.lovage/types/lovage.d.ts" }`,
  "tsconfig.json": `"paths": { "lovage": ["./.lovage/types/lovage.d.ts"] } in its compilerOptions`,
};

/** The same if the npm package, which has the library's types, is installed: what is missing are the stubs. */
export const PACKAGED_LINES: Readonly<Record<string, string>> = {
  "tsconfig.json": `"${REMOTE_FILE}" to its "include"`,
};
