import { app, words } from "./tasks.ts";

const lines = ["to be or not to be", "that is the question", "whether 'tis nobler in the mind to suffer"];
console.log(`${await words(lines)} words in ${lines.length} lines`);
await app.close();
