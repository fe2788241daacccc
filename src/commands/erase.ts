import { readFile } from "node:fs/promises";
import { Command } from "commander";
import { errorCode, InsightsError } from "../errors.ts";
import { asAdministrator } from "./session.ts";

interface Receipt {
  erasure_id: string;
  erased_at: string;
  subject_hash: string;
  salt: string;
  counts: Record<string, Record<string, number>>;
}

interface Options {
  yes?: true;
  reason?: string;
  suppress: boolean;
  list?: true;
  replay?: string;
}

async function readList(path: string): Promise<string> {
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    throw new InsightsError(`cannot read ${path} (${errorCode(error)})`, {
      hint: "Give the file that insights erase --list has written.",
      cause: error,
    });
  });
  try {
    JSON.parse(text);
  } catch (cause) {
    throw new InsightsError(`${path} is not JSON`, {
      hint: "Give the file that insights erase --list has written.",
      cause,
    });
  }
  return text;
}

export default new Command()
  .description(
    "Erases a person: identities, events, and everything that was derived or learned from them, in one transaction. " +
      "Prints the receipt as JSON.",
  )
  .argument("[person]", "userId or anonymousId")
  .option("--yes", "erase: this cannot be undone")
  .option("--reason <text>", "reason for the receipt, without a name")
  .option("--no-suppress", "accept messages that name the person again")
  .option("--list", "print the erasures of this database as JSON: keep it apart from the backups")
  .option("--replay <file>", "repeat the erasures of such a list, after the restore of an older backup")
  .addHelpText(
    "after",
    `
The receipt has the number of rows by table, and a salted hash of the names. The salt is printed here only: with it, the
person can prove whose receipt it is (privacy.subject_hash).

Examples:
  insights erase ada --yes > receipt.json
  insights erase --list > erasures.json
  insights erase --replay erasures.json
`,
  )
  .action(async (person: string | undefined, options: Options) => {
    if ([person, options.list, options.replay].filter((given) => given !== undefined).length !== 1) {
      throw new InsightsError("give a person, --list or --replay", { hint: "See insights erase --help." });
    }
    if (options.list) {
      const list = await asAdministrator("erase", async (client) => {
        const { rows } = await client.query<{ list: string }>("select jsonb_pretty(privacy.erasure_list()) as list");
        return rows[0]?.list ?? "";
      });
      console.log(list);
    } else if (options.replay !== undefined) {
      const list = await readList(options.replay);
      const erased = await asAdministrator("erase", async (client) => {
        const { rows } = await client.query<{ erased: string }>("select privacy.replay_erasures($1) as erased", [list]);
        return Number(rows[0]?.erased ?? 0);
      });
      console.log(erased === 1 ? "erased 1 person again" : `erased ${erased} people again`);
    } else {
      if (!options.yes) {
        throw new InsightsError(`"${person}" would be erased, which cannot be undone`, {
          hint: "Run the command again with --yes. insights export writes all data of a person before.",
        });
      }
      const receipt = await asAdministrator("erase", async (client) => {
        const { rows } = await client.query<Receipt>("select * from privacy.erase_person($1, $2, $3)", [
          person,
          options.reason ?? null,
          options.suppress,
        ]);
        return rows[0];
      });
      console.log(JSON.stringify(receipt, null, 2));
    }
  });
