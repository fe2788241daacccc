import { z } from "zod";
import { defineTask } from "../src/worker/define-task.ts";
import { refreshAll } from "../src/worker/refresh.ts";

const payload = z.object({
  /** Kind of items; default: all kinds that need training. */
  kind: z.string().optional(),
  /** Required share of new interactions, relative to those of the latest version. 0 trains on any new interaction. */
  share: z.number().min(0).default(0.1),
});

type Payload = z.infer<typeof payload>;

interface Trained {
  version: number | null;
  interactions: number;
}

/** Trains recommenders for which enough interactions have arrived since the latest version. */
export default defineTask<Payload>({
  name: "train",
  payload,
  async due({ kind, share }, { call }) {
    if (kind !== undefined) return true;
    const [found] = await call<{ any: boolean }>("select exists (select from recommend.due_trainings($1)) as any", [
      share,
    ]);
    return found?.any === true;
  },
  async run({ kind, share }, tools) {
    // In short statements; the training itself refreshes what is still queued in its own transaction.
    await refreshAll(tools.call, { stopping: () => tools.stopping });
    const kinds =
      kind === undefined
        ? (await tools.call<{ kind: string }>("select kind from recommend.due_trainings($1) as kind", [share])).map(
            (row) => row.kind,
          )
        : [kind];
    const trained: Trained[] = [];
    for (const each of kinds) {
      // Step by step: other clients use the session of the embedded database in between, and a stopped worker continues.
      for (let version: number | null = null; version === null && !tools.stopping; ) {
        const [step] = await tools.call<Trained>(
          `select kind, version, deployed, reason, algorithm, ndcg_at_10, popularity_ndcg_at_10, interactions
           from recommend.train_step($1)`,
          [each],
        );
        version = step?.version ?? null;
        if (step !== undefined && version !== null) trained.push(step);
      }
    }
    return { rows: trained.reduce((sum, { interactions }) => sum + interactions, 0), detail: { trained } };
  },
});
