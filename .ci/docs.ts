/**
 * `make docs`: builds the documentation as a site in dist/docs. All pages of docs/ and of the root, and the
 * examples with their source, are copied to dist/.docs with adjusted links, and VitePress makes the site from
 * them. A broken link or anchor is an error.
 *
 * DOCS_BASE is the path under which the site is served, "/" by default.
 */

import { run } from "./commands.ts";
import { filePath, VERSION } from "../lib/base/mod.ts";

const ROOT = filePath(new URL("..", import.meta.url));

/** The files of an example that are shown, by name ending, and their languages. */
const SHOWN: Readonly<Record<string, string>> = {
  ts: "ts",
  mjs: "js",
  py: "python",
  sh: "sh",
  html: "html",
  yaml: "yaml",
  Dockerfile: "dockerfile",
};

/** A group of the site's sidebar. */
interface Group {
  text: string;
  items: { text: string; link: string }[];
}

/**
 * Returns all pages: path in the repository, and path on the site. A folder is a page that lists its
 * contents.
 */
export function sitePages(): ReadonlyMap<string, string> {
  const pages = new Map<string, string>();
  for (const name of ["README", "CHANGELOG", "CONTRIBUTING"]) {
    pages.set(`${name}.md`, `${name.toLowerCase()}.md`);
  }
  pages.set("SECURITY.md", "reporting.md");
  for (const path of markdownIn("docs")) pages.set(path, path.slice("docs/".length));
  pages.set("docs/README.md", "pages.md");
  pages.set("docs/decisions", "decisions/index.md");
  pages.set("examples", "examples/index.md");
  for (const { name, isDirectory } of Deno.readDirSync(`${ROOT}examples`)) {
    if (isDirectory) pages.set(`examples/${name}`, `examples/${name}.md`);
  }
  for (const path of [...pages.keys()]) if (path.startsWith("docs/site/")) pages.delete(path);
  pages.set("docs/site/index.md", "index.md");
  return pages;
}

/** Returns the sidebar: the lists of docs/README.md, by their headings. */
export function sidebarOf(readme: string, pages: ReadonlyMap<string, string>): Group[] {
  return readme.split(/^## /m).slice(1).map((section): Group => ({
    text: section.slice(0, section.indexOf("\n")),
    items: [...section.matchAll(/^- \[([^\]]+)\]\(([^)#]+)\)/gm)].flatMap(([, text, target]) => {
      const page = pages.get(resolve("docs/README.md", target!));
      return page === undefined ? [] : [{ text: text!, link: `/${page.replace(/(index)?\.md$/, "")}` }];
    }),
  }));
}

/** Returns the Markdown files below a folder, sorted. */
function markdownIn(folder: string): string[] {
  return [...Deno.readDirSync(ROOT + folder)].flatMap(({ name, isDirectory }) =>
    isDirectory ? markdownIn(`${folder}/${name}`) : name.endsWith(".md") ? [`${folder}/${name}`] : []
  ).sort();
}

/** Returns the path in the repository to which a link of a page leads. */
function resolve(page: string, target: string): string {
  return new URL(target, `file:///${page}`).pathname.slice(1).replace(/\/$/, "").replace(
    /(?<=^examples\/[^/]+)\/README\.md$/,
    "",
  );
}

/** Converts the links of a page for the site; targets that are not on the site become plain text. */
function translated(text: string, page: string, pages: ReadonlyMap<string, string>): string {
  const here = pages.get(page)!;
  return text
    .replace(/\[([^\]]*)\]\(([^)\s:#]+)(#[^)\s]*)?\)/g, (whole, label: string, target: string, hash = "") => {
      if (target.startsWith("/")) return whole;
      const to = pages.get(resolve(page.endsWith(".md") ? page : `${page}/README.md`, target));
      if (to !== undefined) {
        return `[${label}](${"../".repeat(here.split("/").length - 1) || "./"}${to}${hash})`;
      }
      return /\.(png|svg)$/.test(target) ? whole : label;
    })
    .replace(
      /<picture><source media="\(prefers-color-scheme: dark\)" srcset="([^"]+)"><img src="([^"]+)" alt="([^"]*)" width="(\d+)"><\/picture>/g,
      (_, dark: string, light: string, alt: string, width: string) =>
        [["dark", dark], ["light", light]].map(([theme, source]) =>
          `<img class="only-${theme}" src="./${source}" alt="${alt}" width="${width}" loading="lazy">`
        ).join(""),
    );
}

/** Escapes `<` and `{{` outside code, which VitePress would read as tags and expressions. */
function escaped(text: string): string {
  return text.split(/(^(`{3,})[^]*?^\2$|`[^`]+`)/m).map((part, n) =>
    n % 3 === 0
      ? part.replace(/<(?!\/?(?:img|picture|source)\b)/g, "&lt;").replaceAll("{{", "{<!-- -->{")
      : n % 3 === 1
      ? part
      : ""
  ).join("");
}

/** Returns the text of a page, or of the page for a folder. */
function textOf(path: string, pages: ReadonlyMap<string, string>): string {
  if (path.endsWith(".md")) return Deno.readTextFileSync(ROOT + path);
  if (path.startsWith("examples/")) return exampleText(path);
  const titles = [...pages.keys()].filter((one) => one.startsWith(`${path}/`)).sort().map((one) => {
    const name = one.slice(path.length + 1);
    return `- [${titleOf(textOf(one, pages)) ?? name}](${name})\n`;
  });
  return `# ${path === "examples" ? "Examples" : "Decisions"}\n\n${titles.join("")}`;
}

function titleOf(text: string): string | undefined {
  return /^# (.+)$/m.exec(text)?.[1];
}

/** Returns the page of an example: its README and its files. */
function exampleText(folder: string): string {
  const names = [...Deno.readDirSync(ROOT + folder)].filter(({ isFile }) => isFile).map(({ name }) => name)
    .sort();
  const readme = names.includes("README.md")
    ? Deno.readTextFileSync(`${ROOT}${folder}/README.md`)
    : `# ${folder.slice("examples/".length)}\n`;
  const files = names.flatMap((name) => {
    const language = SHOWN[name.split(".").at(-1)!];
    if (language === undefined) return [];
    return [
      `## ${name}\n\n\`\`\`\`${language}\n${Deno.readTextFileSync(`${ROOT}${folder}/${name}`)}\`\`\`\`\n`,
    ];
  });
  return [readme, ...files].join("\n");
}

/** Writes the sources of the site into a folder, replacing older ones. */
async function stage(folder: string): Promise<void> {
  const site = `${ROOT}docs/site`;
  const vitepress = `${folder}/.vitepress`;
  await Deno.mkdir(`${vitepress}/theme`, { recursive: true });
  for await (const { name } of Deno.readDir(folder)) {
    if (!["node_modules", ".vitepress", ".lock"].includes(name)) {
      await Deno.remove(`${folder}/${name}`, { recursive: true });
    }
  }
  const pages = sitePages();
  for (const [path, page] of pages) {
    await Deno.mkdir(`${folder}/${page}`.replace(/\/[^/]+$/, ""), { recursive: true });
    await Deno.writeTextFile(
      `${folder}/${page}`,
      translated(page === "index.md" ? textOf(path, pages) : escaped(textOf(path, pages)), path, pages),
    );
  }
  await Deno.mkdir(`${folder}/console`, { recursive: true });
  for await (const { name } of Deno.readDir(`${ROOT}docs/console`)) {
    await Deno.copyFile(`${ROOT}docs/console/${name}`, `${folder}/console/${name}`);
  }
  await Deno.mkdir(`${folder}/public`, { recursive: true });
  await Deno.copyFile(`${ROOT}lib/console/web/icon.svg`, `${folder}/public/icon.svg`);
  for (const name of ["package.json", "package-lock.json"]) {
    await Deno.copyFile(`${site}/${name}`, `${folder}/${name}`);
  }
  for (const name of ["config.ts", "theme/index.ts", "theme/style.css"]) {
    await Deno.copyFile(`${site}/${name}`, `${vitepress}/${name}`);
  }
  const sidebar = sidebarOf(Deno.readTextFileSync(`${ROOT}docs/README.md`), pages);
  await Deno.writeTextFile(`${vitepress}/navigation.json`, JSON.stringify({ version: VERSION, sidebar }));
}

/** Installs the packages of the lock file, unless they are installed. */
async function install(folder: string): Promise<void> {
  const lock = await Deno.readTextFile(`${folder}/package-lock.json`);
  if (await Deno.readTextFile(`${folder}/.lock`).catch(() => "") === lock) return;
  await run("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], {
    cwd: folder,
  });
  await Deno.writeTextFile(`${folder}/.lock`, lock);
}

/** Returns the links of a built site to missing anchors; VitePress checks only pages. */
async function lostPlaces(site: string): Promise<string[]> {
  const ids = new Map<string, Set<string>>();
  const links: [string, string, string][] = [];
  const visit = async (folder: string): Promise<void> => {
    for await (const { name, isDirectory } of Deno.readDir(`${site}/${folder}`)) {
      const path = `${folder}${name}`;
      if (isDirectory) await visit(`${path}/`);
      if (!name.endsWith(".html")) continue;
      const html = await Deno.readTextFile(`${site}/${path}`);
      ids.set(path, new Set([...html.matchAll(/\sid="([^"]+)"/g)].map(([, id]) => id!)));
      for (const [, to, hash] of html.matchAll(/href="([^":#]*\.html)?#([^"]+)"/g)) {
        const target = to === undefined ? path : new URL(to, `file:///${path}`).pathname.slice(1);
        links.push([
          path,
          target.slice(to?.startsWith("/") ? (Deno.env.get("DOCS_BASE") ?? "/").length - 1 : 0),
          hash!,
        ]);
      }
    }
  };
  await visit("");
  return links.filter(([, to, hash]) => hash !== "" && !ids.get(to)?.has(decodeURIComponent(hash)))
    .map(([from, to, hash]) => `${from}: ${to}#${hash}`);
}

if (import.meta.main) {
  const [folder, out] = [`${ROOT}dist/.docs`, `${ROOT}dist/docs`];
  await stage(folder);
  await install(folder);
  await run("node", ["node_modules/vitepress/bin/vitepress.js", "build", "."], {
    cwd: folder,
    env: { DOCS_OUT: out },
  });
  const lost = await lostPlaces(out);
  if (lost.length > 0) throw new Error(`Links to missing anchors:\n${lost.join("\n")}`);
  console.log(`dist/docs: ${sitePages().size} pages`);
}
