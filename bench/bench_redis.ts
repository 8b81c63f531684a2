/** The Redis commands of the benches, over their own connection. */

/** The connection. One command at a time. */
export class BenchRedis {
  #connection: Deno.TcpConn;

  private constructor(connection: Deno.TcpConn) {
    this.#connection = connection;
  }

  /** Connects to a Redis on this machine. */
  static async connect(port: number): Promise<BenchRedis> {
    return new BenchRedis(await Deno.connect({ hostname: "127.0.0.1", port }));
  }

  /** Sends one command on the bench's own connection and returns the reply. */
  async call(...words: string[]): Promise<unknown> {
    const encoder = new TextEncoder();
    const text = words.map((word) => `$${encoder.encode(word).length}\r\n${word}\r\n`).join("");
    let bytes = encoder.encode(`*${words.length}\r\n${text}`);
    while (bytes.length > 0) bytes = bytes.subarray(await this.#connection.write(bytes));
    let got = "";
    const buffer = new Uint8Array(65536);
    for (;;) {
      const n = await this.#connection.read(buffer);
      if (n === null) throw new Error("Redis has ended");
      got += new TextDecoder("latin1").decode(buffer.subarray(0, n));
      const read = reply(got, 0);
      if (read) return read[0];
    }
  }

  /** Puts `n` calls of bench.add into the queue, as Celery's own producer would. */
  async fill(n: number): Promise<void> {
    const one = (id: string) =>
      JSON.stringify({
        body: btoa('[[1, 2], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        headers: {
          ...{
            lang: "py",
            task: "bench.add",
            id,
            shadow: null,
            eta: null,
            expires: null,
            group: null,
            group_index: null,
          },
          ...{
            retries: 0,
            timelimit: [null, null],
            root_id: id,
            parent_id: null,
            argsrepr: "(1, 2)",
            kwargsrepr: "{}",
          },
          ...{
            origin: "gen1@bench",
            ignore_result: false,
            replaced_task_nesting: 0,
            stamped_headers: null,
            stamps: {},
          },
        },
        properties: {
          ...{
            correlation_id: id,
            reply_to: crypto.randomUUID(),
            delivery_mode: 2,
            priority: 0,
            body_encoding: "base64",
          },
          ...{ delivery_info: { exchange: "", routing_key: "celery" }, delivery_tag: crypto.randomUUID() },
        },
      });
    for (let k = 0; k < n; k += 500) {
      await this.call(
        "LPUSH",
        "celery",
        ...Array.from({ length: Math.min(500, n - k) }, () => one(crypto.randomUUID())),
      );
    }
  }

  /** Ends the connection. */
  close(): void {
    this.#connection.close();
  }
}

/** Reads one RESP2 value; null if it is incomplete. */
function reply(text: string, at: number): [unknown, number] | null {
  const end = text.indexOf("\r\n", at);
  if (end < 0) return null;
  const head = text.slice(at + 1, end);
  const size = Number(head);
  switch (text[at]) {
    case "-":
      throw new Error(head);
    case "$":
      if (size < 0) return [null, end + 2];
      return text.length < end + 4 + size ? null : [text.slice(end + 2, end + 2 + size), end + 4 + size];
    case "*": {
      const values: unknown[] = [];
      let next = end + 2;
      for (let n = 0; n < size; n++) {
        const one = reply(text, next);
        if (!one) return null;
        values.push(one[0]);
        next = one[1];
      }
      return [values, next];
    }
    default:
      return [head, end + 2];
  }
}
