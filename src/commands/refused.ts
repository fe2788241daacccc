import Table from "cli-table3";
import { Command, InvalidArgumentError } from "commander";
import { asAdministrator } from "./session.ts";

interface Refused {
  source: string;
  level: string;
  code: string;
  messages: string;
  days: number;
  last_day: string;
  hints: string[] | null;
  fields: Record<string, string> | null;
}

function days(text: string): number {
  const number = /^\d{1,3}$/.test(text) ? Number(text) : 0;
  if (number < 1 || number > 400) throw new InvalidArgumentError("Use 1 to 400 days.");
  return number;
}

export default new Command()
  .description(
    "Prints the numbers of refused messages by source and error code, with the rule that each broke, so that a broken " +
      "client is seen.",
  )
  .option("--days <n>", "number of days, up to today (UTC)", days, 7)
  .option("--json", "print JSON")
  .addHelpText(
    "after",
    "\nSamples show the fields of a message with their types, not values, and are kept for 7 days. Code 53400: above a rate limit.",
  )
  .action(async (options: { days: number; json?: true }) => {
    const refused = await asAdministrator(
      "refused",
      async (client) => {
        const { rows } = await client.query<Refused>(
          `with refused as (
             select source, level, code, sum(messages) as messages, count(*)::int as days, max(day) as last_day
             from track.refused_messages((now() at time zone 'UTC')::date - $1::int + 1)
             group by source, level, code
           ),

           sample as (
             select
               source.name as source, source.level, refusal_sample.code,
               array_agg(distinct refusal_sample.hint) filter (where refusal_sample.hint is not null) as hints,
               (array_agg(refusal_sample.fields order by refusal_sample.refused_at desc))[1] as fields
             from track.refusal_sample
             join track.source using (source_id)
             where refusal_sample.day > (now() at time zone 'UTC')::date - $1::int
             group by source.name, source.level, refusal_sample.code
           )

           select
             refused.source, refused.level, refused.code, refused.messages::text, refused.days, refused.last_day::text,
             sample.hints, sample.fields
           from refused
           left join sample using (source, level, code)
           order by refused.messages desc, source, level, code`,
          [options.days],
        );
        return rows;
      },
      { readOnly: true },
    );
    if (options.json) {
      console.log(JSON.stringify(refused.map((row) => ({ ...row, messages: Number(row.messages) }))));
      return;
    }
    if (refused.length === 0) {
      console.log(`no message was refused in the last ${options.days} days`);
      return;
    }
    const table = new Table({
      head: ["source", "level", "code", "messages", "last day", "rule, and the fields of a sample"],
      style: { head: [], border: [] },
      wordWrap: true,
      colWidths: [null, null, null, null, null, 70],
    });
    for (const { source, level, code, messages, last_day, hints, fields } of refused) {
      const sample = Object.entries(fields ?? {}).map(([name, type]) => `${name}: ${type}`);
      const told = [...(hints ?? []), ...(sample.length === 0 ? [] : [sample.join(", ")])];
      table.push([source, level, code, messages, last_day, told.join("\n")]);
    }
    console.log(table.toString());
  });
