// celery.node: a worker for bench.add.
import { createRequire } from "node:module";
import process from "node:process";

const celery = createRequire(`${process.env.BENCH_MODULES}/`)("celery-node");
const worker = celery.createWorker(process.env.BENCH_REDIS, process.env.BENCH_REDIS);
worker.register("bench.add", (x, y) => x + y);
worker.start();
