import { Argument, Command } from "commander";
import { roles, signToken } from "../api/authentication.ts";
import { authenticationOptions } from "../api/server.ts";
import { readConfig } from "../config.ts";
import { InsightsError } from "../errors.ts";

export default new Command()
  .description(
    "Prints a token for the header `Authorization: Bearer …`, signed with the key of this server, good for an hour.",
  )
  .addArgument(new Argument("<role>").choices(roles.filter((role) => role !== "visitor")))
  .argument("[person]", "the userId of the person; a learner needs one")
  .addHelpText(
    "after",
    "\nThe key is INSIGHTS_JWT_SECRET, or the one that is kept beside the embedded database. Whoever has it can be anybody.",
  )
  .action(async (role: (typeof roles)[number], person: string | undefined) => {
    const options = await authenticationOptions(readConfig());
    if (options.secret === undefined) {
      throw new InsightsError("INSIGHTS_JWKS_URL is set: only the identity provider can sign tokens", {
        hint: "Ask the identity provider for a token of this person.",
      });
    }
    if (role === "learner" && person === undefined) {
      throw new InsightsError("a learner needs a userId", { hint: "Such as: insights token learner nuria.almeida" });
    }
    console.log(await signToken({ role, person: person ?? role, source: undefined }, { ...options, expiresIn: "1h" }));
  });
