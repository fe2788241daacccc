import { defineTask, emptyPayload } from "../src/worker/define-task.ts";

/** Records per statement. */
const most = 10_000;

/** Enters new decisions, texts, requests and receipts into the ledger; its head is printed, as evidence outside of the database. */
export default defineTask({
  name: "seal",
  payload: emptyPayload,
  async due(_payload, { call }) {
    const [found] = await call<{ any: boolean }>("select privacy.needs_seal() as any");
    return found?.any === true;
  },
  async run(_payload, tools) {
    let rows = 0;
    for (;;) {
      const [sealed] = await tools.call<{ entries: number }>("select privacy.seal($1) as entries", [most]);
      rows += sealed?.entries ?? 0;
      if ((sealed?.entries ?? 0) < most || tools.stopping) break;
    }
    const [head] = await tools.call<{ position: string; hash: string }>(
      "select position, hash from privacy.ledger_head()",
    );
    return { rows, detail: { ...head } };
  },
});
