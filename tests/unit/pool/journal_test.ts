import assert from "node:assert/strict";
import { FrameWriter } from "../../../lib/pool/link/frame.ts";
import {
  createFileJournal,
  createSharedJournal,
  type JournalReader,
  type JournalWriter,
  openFileJournal,
  sharedJournalReader,
  sharedJournalWriter,
} from "../../../lib/pool/link/journal.ts";
import { bareOutcome } from "../../../lib/app/mod.ts";
import { appendOutcome } from "../../../lib/pool/link/slot_message.ts";

function outcomeBytes(seq: number, bytes = 0): Uint8Array {
  const writer = new FrameWriter();
  return appendOutcome(writer, { ...bareOutcome(seq, "success", "", ""), document: "x".repeat(bytes) });
}

function check(writer: JournalWriter, reader: JournalReader): void {
  assert.equal(reader.read(), null, "nothing was begun");
  writer.begin(7);
  assert.deepEqual(reader.read(), { frameNumber: 7, outcomes: [] });
  assert.equal(writer.append(outcomeBytes(1)), true);
  assert.equal(writer.append(outcomeBytes(2)), true);
  const seqs = () => reader.read()!.outcomes.map(({ seq }) => seq);
  assert.deepEqual(seqs(), [1, 2]);
  assert.equal(writer.append(outcomeBytes(3, 300_000)), false, "too large");
  assert.deepEqual(seqs(), [1, 2]);
  writer.begin(8);
  assert.deepEqual(reader.read(), { frameNumber: 8, outcomes: [] });
}

Deno.test("a file journal: frames and outcomes, without a name once both have it", () => {
  const folder = Deno.makeTempDirSync();
  const made = createFileJournal([`${folder}/missing/j`, `${folder}/j`])!;
  assert.equal(made.path, `${folder}/j`);
  const reader = openFileJournal(made.path)!;
  Deno.removeSync(folder); // Empty, or this throws.
  check(made.writer, reader);
  assert.equal(made.writer.isRecalled!(8), false);
  assert.equal(reader.recall!(8), false, "begun");
  made.writer.append(outcomeBytes(1));
  assert.equal(reader.recall!(10), true);
  assert.equal(reader.read()!.outcomes.length, 1);
  made.writer.begin(10);
  assert.equal(made.writer.isRecalled!(10), true);
  made.writer.begin(11);
  assert.equal(made.writer.isRecalled!(11), false);
  made.writer.close();
  made.writer.begin(9);
  reader.close();
  reader.close();
  assert.equal(reader.read(), null);
  assert.equal(reader.recall!(12), false);
  assert.equal(openFileJournal(made.path), null);
  assert.equal(createFileJournal([`${folder}/gone`]), null);
});

Deno.test("a shared journal: the same in memory", () => {
  const memory = createSharedJournal();
  check(sharedJournalWriter(memory), sharedJournalReader(memory));
});
