/**
 * A process that uses an embedded broker, for tests with several processes. `hold <url> <queue> [count]`
 * takes up to `count` messages and settles none; `drain <url> <queue>` acknowledges all; `send <url> <queue>
 * <count>` publishes texts; `listen <url> <exchange>` subscribes. Each prints one line for each event.
 */

import { connect, type Consumer, exchange, queue } from "../../lib/transport/mod.ts";
import { textMessage, textOf } from "../conformance/transport.ts";
import { CONNECT_OPTIONS } from "./connect_options.ts";
import { realTestWorld } from "./real_test_world.ts";

const [mode, url, name, count] = Deno.args as [string, string, string, string | undefined];
const connection = await connect(realTestWorld(), url, CONNECT_OPTIONS);

switch (mode) {
  case "hold":
  case "drain": {
    const one = queue(name);
    await connection.declare(one);
    // deno-lint-ignore prefer-const -- the window is asked before consume resolves
    let consumer: Consumer | undefined;
    consumer = await connection.consume({
      queues: [one],
      window: () => Number(count ?? 100) - (consumer?.unsettled ?? 0),
      owner: `${mode}-${Deno.pid}`,
      leaseSeconds: 30,
    }, {
      onDeliveries(batch) {
        for (const delivery of batch) {
          console.log(textOf(delivery));
          if (mode === "drain") consumer!.ack(delivery.tag);
        }
      },
      onUndecodable: (message) => console.log(`undecodable ${message.reason}`),
      onLost: (error) => console.log(`lost ${error.message}`),
    });
    console.log("ready");
    break;
  }
  case "send": {
    for (let n = 0; n < Number(count); n++) {
      await connection.publish([{
        exchange: "",
        routingKey: name,
        message: textMessage(`${Deno.pid}-${n}`),
      }]);
    }
    await connection.close();
    break;
  }
  case "listen": {
    const box = queue(`${Deno.pid}.${name}`, {
      exchange: exchange(name, { type: "fanout" }),
      routingKey: "",
      autoDelete: true,
    });
    await connection.subscribe(box, (note) => console.log(textOf(note)));
    console.log("ready");
    break;
  }
}
