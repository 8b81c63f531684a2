import { chain } from "lovage";
import { app, round } from "./tasks.ts";

const mean = await app.sendTask<number>("stats.mean", { args: [[1, 2, 3, 4]] });
console.log(`mean: ${await mean.get({ timeout: 60 })}`);

// The first step runs in Python. Its worker sends the second step by its own routes, so the queue is named
// here.
const second = round.s().set({ queue: "celery" });
const both = await chain(app.signature("stats.mean", { args: [[1, 2, 2]] }), second).delay();
console.log(`rounded: ${await both.get({ timeout: 60 })}`);
await app.close();
