/**
 * Matches regular expressions from untrusted sources, in time proportional to the text's length times the
 * pattern's: all paths through the pattern are followed at once, character by character, without
 * backtracking. Anybody who may write to the broker can send such a pattern, and eight characters are enough
 * to keep JavaScript's own matcher busy for ever.
 *
 * Patterns that need backtracking are refused: backreferences, lookahead and lookbehind.
 *
 * Source: K. Thompson, Regular Expression Search Algorithm, 1968; Python's re for the syntax.
 */

/** The maximum number of steps of a pattern, with its repeats written out. */
const STEPS_MAX = 5000;

type Letter = (letter: string) => boolean;

/**
 * One step. "letter" consumes a matching character and goes to the next step; "place" goes to the next step
 * if its condition (such as start of text) holds; "fork" goes to two steps; "end" is a match.
 */
type Step =
  | { kind: "letter"; is: Letter }
  | { kind: "place"; is: (letters: readonly string[], at: number) => boolean }
  | { kind: "fork"; to: number; or: number }
  | { kind: "end" };

/** A part of a pattern, as a function that appends its steps. */
type Part = (steps: Step[]) => void;

/** The maximum length of a pattern in characters. */
const PATTERN_CHARS_MAX = 10_000;

/** A compiled pattern. */
export class LinearPattern {
  #steps: readonly Step[];

  /**
   * Throws SyntaxError for an invalid pattern, RangeError for one that is too large or uses a refused
   * feature.
   */
  constructor(pattern: string) {
    if (pattern.length > PATTERN_CHARS_MAX) {
      throw new RangeError(`a pattern has at most ${PATTERN_CHARS_MAX} characters`);
    }
    const steps: Step[] = [];
    new PatternReader(pattern).read()(steps);
    push(steps, { kind: "end" });
    this.#steps = steps;
  }

  /** Returns true if the pattern matches at the start of the text, as Python's `re.match`. */
  test(text: string): boolean {
    const letters = [...text];
    let current = new Set<number>();
    if (this.#follow(0, current, letters, 0)) return true;
    for (let at = 0; at < letters.length && current.size > 0; at++) {
      const next = new Set<number>();
      for (const n of current) {
        const step = this.#steps[n]!;
        if (step.kind !== "letter" || !step.is(letters[at]!)) continue;
        if (this.#follow(n + 1, next, letters, at + 1)) return true;
      }
      current = next;
    }
    return false;
  }

  /**
   * Adds a step and all steps that it reaches without consuming a character. Returns true if the end is among
   * them.
   */
  #follow(from: number, into: Set<number>, letters: readonly string[], at: number): boolean {
    const open = [from];
    for (let n = open.pop(); n !== undefined; n = open.pop()) {
      if (into.has(n)) continue;
      into.add(n);
      const step = this.#steps[n]!;
      if (step.kind === "end") return true;
      if (step.kind === "fork") open.push(step.or, step.to);
      else if (step.kind === "place" && step.is(letters, at)) open.push(n + 1);
    }
    return false;
  }
}

const isWord = (letter: string | undefined): boolean => letter !== undefined && /^\w$/.test(letter);
const isBorder = (letters: readonly string[], at: number): boolean =>
  isWord(letters[at - 1]) !== isWord(letters[at]);

const PLACES: Readonly<Record<string, (letters: readonly string[], at: number) => boolean>> = {
  "^": (_letters, at) => at === 0,
  "\\A": (_letters, at) => at === 0,
  $: (letters, at) => at === letters.length,
  "\\Z": (letters, at) => at === letters.length,
  "\\b": isBorder,
  "\\B": (letters, at) => !isBorder(letters, at),
};

/** What may follow a backslash: a named class, a character code, or a single character. */
const ESCAPE = /^(?:[pP]\{\w{1,40}(?:=\w{1,40})?\}|x[\da-fA-F]{2}|u[\da-fA-F]{4}|u\{[\da-fA-F]{1,6}\}|[^])/u;

/**
 * Reads a pattern into its steps. JavaScript's own matcher decides about single characters: classes and
 * escapes, with case folded or not.
 */
class PatternReader {
  #text: string;
  #at = 0;
  #flags = "u";

  constructor(text: string) {
    this.#text = text;
  }

  read(): Part {
    if (this.#takes("(?i)")) this.#flags = "iu";
    const part = this.#choice();
    if (this.#at < this.#text.length) throw new SyntaxError("a bracket is closed that was not opened");
    return part;
  }

  #choice(): Part {
    const parts = [this.#sequence()];
    while (this.#takes("|")) parts.push(this.#sequence());
    return parts.reduceRight((later, first) => either(first, later));
  }

  #sequence(): Part {
    const parts: Part[] = [];
    while (this.#at < this.#text.length && this.#text[this.#at] !== "|" && this.#text[this.#at] !== ")") {
      parts.push(this.#repeated(this.#atom()));
    }
    return (steps) => {
      for (const part of parts) part(steps);
    };
  }

  #repeated(part: Part): Part {
    const counts = this.#counts();
    if (counts === null) return part;
    // Greedy or lazy makes no difference: the question is only whether the text matches.
    this.#takes("?");
    if (this.#counts() !== null) throw new SyntaxError("a repeat is repeated");
    const [min, max] = counts;
    if (max < min) throw new SyntaxError("a repeat has its limits the wrong way round");
    return (steps) => {
      for (let n = 0; n < min; n++) {
        const before = steps.length;
        part(steps);
        // An empty part stays empty, however often it is repeated.
        if (steps.length === before) break;
      }
      if (max === Infinity) return again(part)(steps);
      for (let n = min; n < max; n++) either(part, nothing)(steps);
    };
  }

  /** Reads the repeat that follows a part; null if there is none. */
  #counts(): [min: number, max: number] | null {
    if (this.#takes("*")) return [0, Infinity];
    if (this.#takes("+")) return [1, Infinity];
    if (this.#takes("?")) return [0, 1];
    const found = /^\{(\d{1,5})(,?)(\d{0,5})\}/.exec(this.#text.slice(this.#at, this.#at + 20));
    if (found === null) return null;
    this.#at += found[0].length;
    const min = Number(found[1]);
    if (found[2] === "") return [min, min];
    return [min, found[3] === "" ? Infinity : Number(found[3])];
  }

  #atom(): Part {
    const letter = String.fromCodePoint(this.#text.codePointAt(this.#at)!);
    this.#at += letter.length;
    switch (letter) {
      case "(":
        return this.#group();
      case "[":
        return this.#class();
      case "\\":
        return this.#escape();
      case ".":
        return one((is) => is !== "\n");
      case "^":
      case "$":
        return place(letter);
      case "*":
      case "+":
      case "?":
        throw new SyntaxError("a repeat has nothing to repeat");
    }
    return this.#single(letter.replace(/[\\^$.*+?()[\]{}|/]/, "\\$&"));
  }

  #group(): Part {
    if (this.#takes("?") && !this.#takes(":")) {
      const name = /^(?:P?<[A-Za-z_]\w*>)/.exec(this.#text.slice(this.#at, this.#at + 100));
      if (name === null) throw new RangeError("a pattern cannot look ahead or behind, nor change its flags");
      this.#at += name[0].length;
    }
    const part = this.#choice();
    if (!this.#takes(")")) throw new SyntaxError("a bracket is not closed");
    return part;
  }

  #class(): Part {
    const start = this.#at - 1;
    while (this.#at < this.#text.length && this.#text[this.#at] !== "]") {
      this.#at += this.#text[this.#at] === "\\" ? 2 : 1;
    }
    if (!this.#takes("]")) throw new SyntaxError("a class of letters is not closed");
    return this.#single(this.#text.slice(start, this.#at));
  }

  #escape(): Part {
    const found = ESCAPE.exec(this.#text.slice(this.#at, this.#at + 100));
    if (found === null) throw new SyntaxError("a backslash ends the pattern");
    const escape = found[0];
    this.#at += escape.length;
    if (/^[1-9k]$/.test(escape)) throw new RangeError("a pattern cannot refer to what a group matched");
    if (Object.hasOwn(PLACES, `\\${escape}`)) return place(`\\${escape}`);
    // JavaScript does not allow "\-" and similar escapes outside of classes.
    return this.#single(/^[\w\\^$.*+?()[\]{}|/]|^[pPxu]/.test(escape) ? `\\${escape}` : escape);
  }

  #single(source: string): Part {
    let single: RegExp;
    try {
      single = new RegExp(`^${source}$`, this.#flags);
    } catch {
      throw new SyntaxError(`"${source.slice(0, 50)}" is neither a letter nor a class of letters`);
    }
    return one((letter) => single.test(letter));
  }

  #takes(text: string): boolean {
    if (!this.#text.startsWith(text, this.#at)) return false;
    this.#at += text.length;
    return true;
  }
}

function push(steps: Step[], step: Step): void {
  if (steps.length >= STEPS_MAX) throw new RangeError(`a pattern has at most ${STEPS_MAX} steps`);
  steps.push(step);
}

function one(is: Letter): Part {
  return (steps) => push(steps, { kind: "letter", is });
}

function place(name: string): Part {
  return (steps) => push(steps, { kind: "place", is: PLACES[name]! });
}

function nothing(): void {}

function either(first: Part, second: Part): Part {
  return (steps) => {
    const fork = { kind: "fork" as const, to: steps.length + 1, or: 0 };
    push(steps, fork);
    first(steps);
    const jump = { kind: "fork" as const, to: 0, or: 0 };
    push(steps, jump);
    fork.or = steps.length;
    second(steps);
    jump.to = jump.or = steps.length;
  };
}

function again(part: Part): Part {
  return (steps) => {
    const fork = { kind: "fork" as const, to: steps.length + 1, or: 0 };
    push(steps, fork);
    const start = steps.length - 1;
    part(steps);
    push(steps, { kind: "fork", to: start, or: start });
    fork.or = steps.length;
  };
}
