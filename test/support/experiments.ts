import type { Queries } from "./database.ts";

/** Events, traits, metrics and a feature that experiments need. */
export async function makeExperiments(db: Queries): Promise<void> {
  await db.query("select track.ingest($1::jsonb)", [
    JSON.stringify([
      {
        type: "identify",
        messageId: "1",
        userId: "ada",
        traits: { plan: "pro", age: 30, email: "ada@campus.example" },
      },
      { type: "identify", messageId: "2", userId: "bob", traits: { plan: "free" } },
      { type: "track", messageId: "3", userId: "ada", event: "Task Submitted" },
      { type: "track", messageId: "4", userId: "bob", event: "Lesson Completed", properties: { score: 7 } },
      { type: "track", messageId: "5", anonymousId: "browser-1", event: "Task Submitted" },
    ]),
  ]);
  await db.query(`
    select experiment.define_metric('submitted', 'proportion', '{Task Submitted}');
    select experiment.define_metric('lessons', 'count', '{Lesson Completed}');
    select experiment.define_feature('player', 'The new player of videos.');
    select experiment.define_feature('colour', 'Colour of the button.', 'string', '"grey"');
    select experiment.define_layer('page', 'Experiments on the page.');
    select experiment.define_holdout('none-2026', 0.2, 'People without any change in 2026.');
  `);
}

/** A valid definition, with other fields in place of its own; undefined removes a field. */
export const definition = (fields: Record<string, unknown> = {}): string =>
  JSON.stringify({
    key: "new-player",
    feature: "player",
    variations: [
      { key: "control", value: false },
      { key: "new", value: true },
    ],
    goals: ["submitted"],
    ...fields,
  });

export const define = async (db: Queries, fields: Record<string, unknown> = {}): Promise<void> => {
  await db.query("select experiment.define_experiment($1)", [definition(fields)]);
};
