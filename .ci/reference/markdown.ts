/** Tables and headings of the generated pages. */

/** Formats a table; cells are Markdown. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |\n`;
  return `${line(head)}| ${head.map(() => "---").join(" | ")} |\n${rows.map(line).join("")}`;
}

/** Formats text as inline code. */
export function code(text: string): string {
  return text.includes("`") ? `\`\` ${text} \`\`` : `\`${text}\``;
}

/** Formats a page with a note that it is generated. */
export function page(title: string, ...parts: readonly string[]): string {
  return `# ${title}\n\n${parts.map((part) => part.trimEnd()).filter(Boolean).join("\n\n")}\n\n${NOTE}\n`;
}

const NOTE = "_Made by `make reference` from the program's own tables: change those, not this page._";

/** Formats a sentence of a table or doc comment: on one line, with a capital letter and a full stop. */
export function sentence(text: string): string {
  const flat = text.replaceAll(/\s+/g, " ").trim();
  return flat === "" || /[.!?:]$/.test(flat) ? flat : `${flat}.`;
}
