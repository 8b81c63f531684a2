/** The files of a new project, which `lovage init` writes. */

/** The file with the stubs of other workers' tasks, relative to the project's folder. */
export const REMOTE_FILE = ".lovage/types/remote.d.ts";
/** Its content until stubs are written. */
export const NO_REMOTE = `// Tasks that other workers register: "lovage types -b URL" writes them here.
export {};
`;

/** The files by path, in the order of the output. */
export const PROJECT_FILES: Readonly<Record<string, string>> = {
  "tasks.ts": [
    'import { App } from "lovage";',
    "",
    "// Without a broker URL, the embedded broker is used: a file on this machine, no server.",
    'export const app = new App("tasks");',
    "",
    "/** Adds two numbers: lovage -A tasks.ts call --wait tasks.add -a '[2, 3]' */",
    'export const add = app.task("tasks.add", (x: number, y: number) => x + y);',
    "",
    "/** Fetches a page, retries after a failure, and reports its progress. */",
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

/** The line that an existing configuration needs to resolve "lovage", by path. */
export const WANTED_LINES: Readonly<Record<string, string>> = {
  "deno.json": `"imports": { "lovage": "./.lovage/types/lovage.d.ts" }`,
  "tsconfig.json": `"paths": { "lovage": ["./.lovage/types/lovage.d.ts"] } in its compilerOptions`,
};

/** The same if the npm package is installed: it has the library's types, so only the stubs are missing. */
export const PACKAGED_LINES: Readonly<Record<string, string>> = {
  "tsconfig.json": `"${REMOTE_FILE}" to its "include"`,
};
