/** The census's task: counts the lines, words and bytes of one file, and finds its language. */

import { App } from "lovage";

export const app = new App("census");

/** The counts of one file. */
export interface FileCount {
  path: string;
  language: string;
  lines: number;
  words: number;
  bytes: number;
}

const LANGUAGES: Record<string, string> = {
  c: "C",
  css: "CSS",
  go: "Go",
  html: "HTML",
  js: "JavaScript",
  json: "JSON",
  lock: "JSON",
  md: "Markdown",
  mjs: "JavaScript",
  py: "Python",
  rs: "Rust",
  sh: "Shell",
  toml: "TOML",
  ts: "TypeScript",
  txt: "Text",
  yaml: "YAML",
  yml: "YAML",
};

export const count = app.task("census.count", async (folder: string, path: string): Promise<FileCount> => {
  const data = await Deno.readFile(`${folder}/${path}`);
  const text = new TextDecoder().decode(data);
  const name = path.slice(path.lastIndexOf("/") + 1);
  const ending = name.includes(".") ? name.slice(name.lastIndexOf(".") + 1).toLowerCase() : "";
  return {
    path,
    language: LANGUAGES[ending] ?? (name === "Makefile" ? "Makefile" : "other"),
    lines: text.split("\n").length - 1,
    words: text.split(/\s+/).filter((word) => word !== "").length,
    bytes: data.length,
  };
});
