// Runs verifyEvents over a file of JSON lines and prints how many events passed, in how many seconds.
import { verifyEvents } from "@ag-ui/client";
import { openSync, readSync } from "node:fs";
import { Subject } from "rxjs";
import { StringDecoder } from "node:string_decoder";

const events = new Subject();
let passed = 0;
let refused = "";
events.pipe(verifyEvents()).subscribe({ next: () => (passed += 1), error: (error) => (refused = error.message) });

const start = performance.now();
const file = openSync(process.argv[2], "r");
const chunk = Buffer.allocUnsafe(256 * 1024);
const decoder = new StringDecoder("utf8");
let rest = "";
for (let size; (size = readSync(file, chunk)) > 0; ) {
  const lines = (rest + decoder.write(chunk.subarray(0, size))).split("\n");
  rest = lines.pop();
  for (const line of lines) events.next(JSON.parse(line));
}
const seconds = (performance.now() - start) / 1000;
const cpu = process.cpuUsage();
const result = { events: passed, seconds, cpu_seconds: (cpu.user + cpu.system) / 1e6, refused };
console.log(JSON.stringify({ ...result, peak_mib: process.resourceUsage().maxRSS / 1024 }));
