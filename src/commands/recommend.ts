import Table from "cli-table3";
import { Command, InvalidArgumentError } from "commander";
import { withSession } from "./session.ts";

interface Reason {
  kind: string;
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

/** The reasons that raise the score, and those that lower it, each by size. */
function explanation(reasons: readonly Reason[]): string {
  const list = (chosen: readonly Reason[]): string =>
    chosen.map(({ item, title, contribution }) => `${title ?? item} ${contribution.toFixed(2)}`).join(", ");
  const raising = list(reasons.filter(({ contribution }) => contribution > 0));
  const lowering = list(reasons.filter(({ contribution }) => contribution < 0));
  const without = reasons.filter(({ contribution }) => contribution === 0).map(({ title }) => title);
  return [raising && `because of ${raising}`, lowering && `despite ${lowering}`, ...without].filter(Boolean).join("; ");
}

export default new Command()
  .description("Recommends items to a person, each with the reasons whose contributions add up to its score.")
  .argument("<person>", "the application's name for the person: a userId, or an anonymousId")
  .option("--top <n>", "number of items", whole, 10)
  .option("--kind <kind>", "kind of items", "course")
  .option("--json", "print JSON")
  .addHelpText("after", "\nAn unknown person gets popular and new items. Events count as soon as they are ingested.")
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
      if (found.length === 0) {
        console.log(
          `nothing to recommend: "${person}" has taken, or cannot take, every item of kind "${options.kind}"`,
        );
        return;
      }
      const table = new Table({
        head: ["", options.kind, "basis", "score", "reasons"],
        style: { head: [], border: [] },
        wordWrap: true,
        colWidths: [5, 36, 12, 8, 60],
      });
      for (const { rank, item, title, score, reasons, basis } of found) {
        table.push([
          rank,
          title === null ? item : `${title} (${item})`,
          basis,
          score.toFixed(2),
          explanation(reasons ?? []),
        ]);
      }
      console.log(table.toString());
      const version = found.find(({ model_version }) => model_version !== null)?.model_version;
      if (version !== undefined) console.log(`by version ${version} of recommend.${options.kind}`);
    });
  });
