import { defineTask, emptyPayload } from "../src/worker/define-task.ts";

/** Deletes old samples and counts of refused messages. */
export default defineTask({
  name: "delete_old_refusals",
  payload: emptyPayload,
  async run(_payload, { call }) {
    const [row] = await call<{ deleted: string }>(
      `select track.delete_old_refusals(privacy.kept_for('refusal_samples'), privacy.kept_for('refusals')) as deleted`,
    );
    return { rows: Number(row?.deleted ?? 0) };
  },
});
