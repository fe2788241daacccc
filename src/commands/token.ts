import { Argument, Command } from "commander";
import { isPerson, roles, signToken } from "../api/authentication.ts";
import { authenticationOptions } from "../api/server.ts";
import { readConfig } from "../config.ts";
import { InsightsError } from "../errors.ts";

export default new Command()
  .description(
    "Prints a token for the header `Authorization: Bearer …`, signed with the key of this server, valid for one hour.",
  )
  .addArgument(new Argument("<role>").choices(roles.filter((role) => role !== "visitor")))
  .argument("[person]", "the userId of the person; required for a learner and an instructor")
  .option("--view <view>", "limited to this page, such as overview: for pages within another site")
  .addHelpText(
    "after",
    "\nThe key is INSIGHTS_JWT_SECRET, or the one in the data directory. Its holder can sign in as any role and person.",
  )
  .action(async (role: (typeof roles)[number], person: string | undefined, { view }: { view?: string }) => {
    const options = await authenticationOptions(readConfig());
    if (options.secret === undefined) {
      throw new InsightsError("INSIGHTS_JWKS_URL is set, so only the identity provider can sign tokens", {
        hint: "Request a token of this person from the identity provider.",
      });
    }
    if (isPerson(role) && person === undefined) {
      throw new InsightsError(`${role === "learner" ? "a" : "an"} ${role} needs a userId`, {
        hint: `For example: insights token ${role} nuria.almeida`,
      });
    }
    console.log(
      await signToken({ role, person: person ?? role, source: undefined, view }, { ...options, expiresIn: "1h" }),
    );
  });
