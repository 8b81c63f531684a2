/** The site that `make docs` builds; .ci/docs.ts puts the pages beside it, and navigation.json. */

import { readFileSync } from "node:fs";
import { defineConfig } from "vitepress";

const { version, sidebar } = JSON.parse(readFileSync(new URL("navigation.json", import.meta.url), "utf8"));

export default defineConfig({
  title: "Lovage",
  description: "Celery's system in one binary: workers, results and remote control, in TypeScript.",
  lang: "en",
  base: process.env.DOCS_BASE ?? "/",
  outDir: process.env.DOCS_OUT,
  head: [["link", { rel: "icon", type: "image/svg+xml", href: `${process.env.DOCS_BASE ?? "/"}icon.svg` }]],
  srcExclude: ["node_modules/**"],
  // A page says nothing of when it was built.
  lastUpdated: false,
  markdown: {
    theme: { light: "github-light-high-contrast", dark: "github-dark" },
    // As a repository's own pages have them, so that a link to a place holds in both.
    anchor: {
      slugify: (text) => text.trim().toLowerCase().replaceAll(/[^\p{L}\p{N}\s_-]/gu, "").replaceAll(/\s/g, "-"),
    },
    // Code in a line is text: braces in it are no program of Vue's.
    config: (md) => {
      md.renderer.rules.code_inline = (tokens, n, _options, _env, self) =>
        `<code v-pre${self.renderAttrs(tokens[n])}>${md.utils.escapeHtml(tokens[n].content)}</code>`;
    },
  },
  themeConfig: {
    logo: "/icon.svg",
    outline: [2, 3],
    search: {
      provider: "local",
      options: { miniSearch: { searchOptions: { boost: { title: 4, titles: 2, text: 1 }, prefix: true, fuzzy: 0.15 } } },
    },
    nav: [
      { text: "Quick start", link: "/quick-start" },
      { text: "Guide", link: "/sending", activeMatch: "^/(?!quick-start|from-celery|reference/|changelog)[a-z]" },
      { text: "From Celery", link: "/from-celery" },
      { text: "Reference", link: "/reference/settings", activeMatch: "^/reference/" },
      { text: version, link: "/changelog" },
    ],
    sidebar,
    docFooter: { prev: "Before", next: "Next" },
    footer: { message: "MIT licensed." },
  },
});
