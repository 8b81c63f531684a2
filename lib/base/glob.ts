/**
 * Shell patterns that match whole names: `*`, `?`, `[a-z]`, `[!a-z]`. Case-sensitive.
 *
 * Source: Python's fnmatch.translate.
 */

/** A compiled pattern. */
export class Glob {
  #parts: RegExp[];

  /** Throws SyntaxError for an invalid character class. */
  constructor(pattern: string) {
    this.#parts = globParts(pattern);
  }

  /**
   * Returns true if the whole name matches. Backtracks to the last star only, so the time is at most the
   * name's length times the pattern's.
   */
  test(name: string): boolean {
    const parts = this.#parts;
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
