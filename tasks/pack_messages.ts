import { defineTask, emptyPayload } from "../src/worker/define-task.ts";

/** Moves hashes of messages from the table of recent ones to the packed ones, in steps, until none is scheduled. */
export default defineTask({
  name: "pack_messages",
  payload: emptyPayload,
  async run(_payload, tools) {
    let rows = 0;
    while (!tools.stopping) {
      const [step] = await tools.call<{ moved: number | null }>("select track.pack_messages() as moved");
      if (step === undefined || step.moved === null) break;
      rows += step.moved;
    }
    return { rows };
  },
});
