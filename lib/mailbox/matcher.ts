/**
 * Which nodes a request is for: its destination, else its pattern, else everybody.
 *
 * Source: kombu 5.2.4 pidbox.py Node.handle_message, matcher.py; Python's fnmatch.translate.
 */

/** The addressing of a request. */
export interface Addressed {
  readonly destination: readonly string[] | null;
  readonly pattern: string | null;
  readonly matcher: "glob" | "pcre" | null;
}

/** Patterns that are longer are refused: a regular expression from outside must stay small. */
const PATTERN_CHARS_MAX = 1000;
/** `(a+)+` and its kin: tried in exponentially many ways. */
const REPEATED_REPEAT = /[+*}][^()]*\)[+*{]/;

/**
 * True where the request is for this node. An empty destination names nobody in particular and so means all, as in
 * Celery. Throws RangeError for a pattern of more than 1000 characters or of nested repeats, SyntaxError for one that
 * cannot be read.
 */
export function isFor(nodename: string, request: Addressed): boolean {
  if (request.destination !== null && request.destination.length > 0) {
    return request.destination.includes(nodename);
  }
  if (request.pattern && request.matcher) return matches(nodename, request.pattern, request.matcher);
  return true;
}

/** Whether a name matches: "glob" as a whole, "pcre" from its start. */
export function matches(name: string, pattern: string, matcher: "glob" | "pcre"): boolean {
  if (pattern.length > PATTERN_CHARS_MAX) {
    throw new RangeError(`a pattern has at most ${PATTERN_CHARS_MAX} characters`);
  }
  if (matcher === "pcre" && REPEATED_REPEAT.test(pattern)) {
    throw new RangeError("a pattern that repeats a repeating group may take for ever");
  }
  return matcher === "glob" ? globMatches(name, pattern) : new RegExp(`^(?:${pattern})`, "u").test(name);
}

/**
 * Shell style: `*`, `?`, `[a-z]`, `[!a-z]`; case counts. Two pointers and one step back per star, so that no pattern
 * takes longer than name times pattern.
 */
function globMatches(name: string, pattern: string): boolean {
  const parts = globParts(pattern);
  let at = 0;
  let part = 0;
  let starPart = -1;
  let starAt = 0;
  while (at < name.length) {
    const one = parts[part];
    if (one === STAR) {
      starPart = part++;
      starAt = at;
    } else if (one !== undefined && one.test(name[at]!)) {
      at++;
      part++;
    } else if (starPart >= 0) {
      part = starPart + 1;
      at = ++starAt;
    } else return false;
  }
  while (parts[part] === STAR) part++;
  return part === parts.length;
}

const STAR = /^$/;
const ANY = /^[^]$/;

function globParts(pattern: string): RegExp[] {
  const parts: RegExp[] = [];
  for (let n = 0; n < pattern.length; n++) {
    const letter = pattern[n]!;
    if (letter === "*") parts.push(STAR);
    else if (letter === "?") parts.push(ANY);
    else {
      const set = letter === "[" ? /^\[(!?)(\]?[^\]]*)\]/.exec(pattern.slice(n)) : null;
      if (set === null) parts.push(new RegExp(`^${escaped(letter)}$`));
      else {
        const inside = set[2]!.replaceAll(/[\\\]^[]/g, "\\$&");
        parts.push(new RegExp(`^[${set[1] ? "^" : ""}${inside}]$`));
        n += set[0].length - 1;
      }
    }
  }
  return parts;
}

function escaped(letter: string): string {
  return letter.replace(/[\\^$.*+?()[\]{}|/]/, "\\$&");
}
