import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";
import { filePath, fileUrl } from "../../../lib/base/mod.ts";

Deno.test("fileUrl, filePath: every path survives the way to a URL and back", () => {
  const paths = [
    "/",
    "/a b/é.ts",
    "/%41/100%/x#y?z.ts",
    "/a\\b;c,d@e&f=+$:'\"[]{}|^~`",
    "/tab\t\n/日本/😀.ts",
  ];
  for (const path of paths) {
    assert.equal(filePath(fileUrl(path)), path);
    assert.equal(filePath(new URL(fileUrl(path))), path);
    assert.equal(filePath(pathToFileURL(path)), path);
  }
});

Deno.test("filePath: what is not the URL of a file here is an error", () => {
  for (const url of ["https://host/a", "file://host/a", "file:///a%2fb", "file:///a%zz", "a/b"]) {
    assert.throws(() => filePath(url), TypeError, url);
  }
});
