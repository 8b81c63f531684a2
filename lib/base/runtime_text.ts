/**
 * Replaces the advice in the runtime's messages. It is meant for the runtime's command line and does not
 * apply here.
 */

const ADVICE: readonly (readonly [RegExp, string])[] = [
  // Only sandboxed tasks run without all permissions.
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

/** Returns a text with the runtime's advice replaced by what applies here. */
export function withOurAdvice(text: string): string {
  // An ordinary message costs one search.
  if (!/--allow-|import map|hint: |JSR and npm/.test(text)) return text;
  return ADVICE.reduce((result, [theirs, ours]) => result.replace(theirs, ours), text);
}
