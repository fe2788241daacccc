import Table from "cli-table3";
import { Command, InvalidArgumentError } from "commander";
import { withSession } from "./session.ts";

interface Reason {
  kind: "item" | "others" | "popularity";
  item: string | null;
  title: string | null;
  contribution: number;
}

interface Recommendation {
  rank: number;
  item: string;
  title: string | null;
  score: number;
  reasons: Reason[] | null;
  basis: string;
  model_version: number | null;
  serving_id: string;
}

function whole(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError("Use a whole number.");
  return Number(text);
}

function because({ kind, item, title, contribution }: Reason): string {
  const what = { item: title ?? item ?? "", others: "others", popularity: "its popularity" }[kind];
  return `${what} ${contribution.toFixed(2)}`;
}

export default new Command()
  .description("Recommends items to a person, each with the reasons whose contributions add up to its score.")
  .argument("<person>", "the application's name for the person: a userId, or an anonymousId")
  .option("--top <n>", "number of items", whole, 10)
  .option("--kind <kind>", "kind of items", "course")
  .option("--json", "print JSON")
  .addHelpText("after", "\nAn unknown person gets popular items. Events count as soon as they are ingested.")
  .action(async (person: string, options: { top: number; kind: string; json?: true }) => {
    await withSession("recommend", async ({ pool }) => {
      const { rows } = await pool.query<{ recommendation: Recommendation }>(
        "select to_json(recommendation) as recommendation from recommend.for_person($1, $2, $3) as recommendation order by recommendation.rank",
        [person, options.top, options.kind],
      );
      const found = rows.map(({ recommendation }) => recommendation);
      if (options.json) {
        console.log(JSON.stringify(found));
        return;
      }
      const [best] = found;
      if (best === undefined) {
        console.log(
          `nothing to recommend: "${person}" has taken, or cannot take, every item of kind "${options.kind}"`,
        );
        return;
      }
      const table = new Table({
        head: ["", options.kind, "score", "because of"],
        style: { head: [], border: [] },
        wordWrap: true,
        colWidths: [5, 40, 8, 66],
      });
      for (const { rank, item, title, score, reasons } of found) {
        table.push([
          rank,
          title === null ? item : `${title} (${item})`,
          score.toFixed(2),
          (reasons ?? []).map(because).join(", "),
        ]);
      }
      console.log(table.toString());
      console.log(
        best.basis === "model" ? `by version ${best.model_version} of recommend.${options.kind}` : "by popularity",
      );
    });
  });
