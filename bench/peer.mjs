// graphile-worker for bench/run, tuned as its own perfTest is, and the client
// that measures the latency of both sides. The server is the one that PGHOST,
// PGUSER and PGDATABASE name. bench/run copies this file beside node_modules.
//
//   peer.mjs migrate                 makes graphile-worker's schema
//   peer.mjs work                    one worker process, until SIGTERM
//   peer.mjs graphile_send_start N   prints p50 and p99 in ms, from just before
//                                    the client sends until the handler is
//                                    entered, in a worker process of its own
//   peer.mjs send_start N            the same for triggerdo

import { fork } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Logger, run, runMigrations } from "graphile-worker";
import pg from "pg";

const connectionString =
  `postgres:///${process.env.PGDATABASE}?host=${encodeURIComponent(process.env.PGHOST)}` +
  `&user=${process.env.PGUSER}`;

const CONCURRENT_JOBS = 24;
const preset = {
  worker: {
    connectionString,
    concurrentJobs: CONCURRENT_JOBS,
    maxPoolSize: CONCURRENT_JOBS + 1,
    localQueue: { size: 500, refetchDelay: { durationMs: 10 } },
    completeJobBatchDelay: 0,
    failJobBatchDelay: 0,
    logger: new Logger(() => (level, message) => {
      if (level === "error" || level === "warning") console.error(message);
    }),
  },
};

const WARM_UP = 5;
const gap = () => sleep(15 + 30 * Math.random());

// The monotonic clock is one for all processes of a machine.
const now = () => process.hrtime.bigint();

// Waits for the next full millisecond of the wall clock and returns it: with
// that, a time of this program can be compared with one of the server, to a
// few microseconds, although Date.now() counts milliseconds only.
function fullMillisecond() {
  const before = Date.now();
  let at;
  while ((at = Date.now()) === before);
  return at;
}

function print(latencies) {
  latencies.sort((a, b) => a - b);
  const at = (q) => latencies[Math.ceil(q * latencies.length) - 1].toFixed(3);
  console.log(at(0.5), at(0.99));
}

async function work() {
  const runner = await run({
    preset,
    taskList: {
      noop: () => {},
      started: ({ i }) => {
        const at = now();
        process.send?.({ i, at: at.toString() });
      },
    },
  });
  // Without its parent a child must not live on.
  process.on("disconnect", () => runner.stop().catch(() => process.exit(1)));
  process.send?.("ready");
  await runner.promise;
}

async function graphileSendStart(n) {
  const started = new Map();
  const child = fork(fileURLToPath(import.meta.url), ["work"]);
  await new Promise((resolve, reject) => {
    child.once("exit", () => reject(new Error("the worker ended")));
    child.on("message", (m) => (m === "ready" ? resolve() : started.set(m.i, BigInt(m.at))));
  });
  const client = new pg.Client({ connectionString });
  await client.connect();
  await sleep(1000);
  const sent = [];
  for (let i = 0; i < WARM_UP + n; i++) {
    await gap();
    fullMillisecond();
    sent[i] = now();
    await client.query("SELECT graphile_worker.add_job('started', json_build_object('i', $1::int))", [i]);
  }
  for (let tries = 0; started.size < sent.length && tries < 100; tries++) await sleep(100);
  await client.end();
  child.removeAllListeners("exit");
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  await ended;
  print(sent.slice(WARM_UP).map((at, i) => Number(started.get(i + WARM_UP) - at) / 1e6));
}

async function triggerdoSendStart(n) {
  const client = new pg.Client({ connectionString });
  await client.connect();
  await client.query("SET ROLE app");
  const runs = [];
  for (let i = 0; i < WARM_UP + n; i++) {
    await gap();
    const sent = fullMillisecond();
    const { rows } = await client.query("SELECT triggerdo.trigger_task('started', '{}') AS id");
    runs.push({ sent, id: rows[0].id });
  }
  const latencies = [];
  for (const { sent, id } of runs.slice(WARM_UP)) {
    let started = null;
    for (let tries = 0; started === null && tries < 100; tries++) {
      if (tries) await sleep(100);
      ({ started } = (await client.query("SELECT triggerdo.run_result($1) AS started", [id])).rows[0]);
    }
    latencies.push(started * 1000 - sent);
  }
  await client.end();
  print(latencies);
}

const [command, n] = process.argv.slice(2);
switch (command) {
  case "migrate":
    await runMigrations({ preset });
    break;
  case "work":
    await work();
    break;
  case "graphile_send_start":
    await graphileSendStart(Number(n));
    break;
  case "send_start":
    await triggerdoSendStart(Number(n));
    break;
  default:
    throw new Error(`unknown command ${command}`);
}
