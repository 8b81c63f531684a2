/** Messages of the runtime, whose advice is for its own command line: here it would lead nowhere. */

const ADVICE: readonly (readonly [RegExp, string])[] = [
  // Nothing but a sandboxed task is ever refused a permission.
  [/, run again with the --allow-[a-z-]+ flag/g, ": the task's permissions do not name it"],
  [
    / not a dependency and not in import map from /g,
    " is neither in a package.json nor in the imports of a deno.json for ",
  ],
  [
    /\. Ensure you have all your JSR and npm dependencies listed [^\n]*/g,
    ": install the project's packages with npm",
  ],
  [/\n\s*hint: [^\n]*/g, ""],
];

/** A text with the advice of the runtime replaced by what holds here. */
export function withOurAdvice(text: string): string {
  // Ordinary messages cost three searches and no more.
  if (!/--allow-|import map|hint: |JSR and npm/.test(text)) return text;
  return ADVICE.reduce((told, [theirs, ours]) => told.replace(theirs, ours), text);
}
