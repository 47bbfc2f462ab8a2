// Runs verifyEvents over streams: one JSON array of events per line in, one verdict per line out.
import { verifyEvents } from "@ag-ui/client";
import { createInterface } from "node:readline";
import { from } from "rxjs";

const lines = createInterface({ input: process.stdin });
for await (const line of lines) {
  let passed = 0;
  const verdict = { ok: true };
  from(JSON.parse(line))
    .pipe(verifyEvents())
    .subscribe({
      next: () => (passed += 1),
      error: (error) => Object.assign(verdict, { ok: false, at: passed, message: error.message }),
    });
  process.stdout.write(JSON.stringify(verdict) + "\n");
}
