import { useRef, useState } from "preact/hooks";
import { examples } from "../examples.ts";
import { authorization, type Session, signedInAgain } from "../session.ts";
import { texts } from "../texts.ts";

async function ask(query: string): Promise<unknown> {
  const response = await fetch("/graphql", {
    method: "POST",
    headers: { "content-type": "application/json", ...authorization() },
    body: JSON.stringify({ query }),
  });
  if (response.status === 401 && (await signedInAgain())) return await ask(query);
  return await response.json();
}

/** An editor of GraphQL queries, with examples for the role. */
export default function Queries({ session }: { session: Session }) {
  const offered = Object.entries({ ...examples[session.role], ...examples["visitor"] });
  const [chosen, setChosen] = useState(offered[0]?.[0]);
  const [answer, setAnswer] = useState<string>(texts.queries.placeholder);
  const [took, setTook] = useState<number>();
  const field = useRef<HTMLTextAreaElement>(null);
  const run = async (): Promise<void> => {
    const begin = performance.now();
    try {
      setAnswer(JSON.stringify(await ask(field.current?.value ?? ""), null, 2));
    } catch (error) {
      setAnswer(String(error));
    }
    setTook(Math.round(performance.now() - begin));
  };
  return (
    <section class="card wide">
      <p class="note">
        {texts.queries.lead}{" "}
        {session.graphiql && (
          <a href="/graphiql" target="_top">
            {texts.queries.graphiql}
          </a>
        )}
      </p>
      {/* biome-ignore lint/a11y/useSemanticElements: a fieldset would put a frame around it. */}
      <div class="examples" role="group" aria-label={texts.queries.examples}>
        {offered.map(([label, query]) => (
          <button
            type="button"
            key={label}
            aria-pressed={label === chosen}
            onClick={() => {
              setChosen(label);
              if (field.current) field.current.value = query;
            }}
          >
            {label}
          </button>
        ))}
      </div>
      <form
        class="query"
        onSubmit={(event) => {
          event.preventDefault();
          void run();
        }}
      >
        <label>
          <span class="visually-hidden">{texts.queries.query}</span>
          <textarea
            ref={field}
            id="query"
            rows={14}
            spellcheck={false}
            defaultValue={offered[0]?.[1] ?? ""}
            onKeyDown={(event) => {
              if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) void run();
            }}
          />
        </label>
        {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard. */}
        <section id="answer" tabIndex={0} aria-live="polite" aria-label={texts.queries.answer}>
          <pre>{answer}</pre>
        </section>
        <div class="actions">
          <button type="submit">{texts.queries.run}</button>
          <span class="note">
            {texts.queries.keys} {took !== undefined && texts.queries.took(took)}
          </span>
        </div>
      </form>
    </section>
  );
}
