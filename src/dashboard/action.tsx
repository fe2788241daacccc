import type { ComponentChildren } from "preact";
import { useId, useState } from "preact/hooks";
import { InsightsError } from "../client/error.ts";
import { messageOf } from "./data.ts";
import { type Values, valuesOf } from "./form.tsx";
import { usePinned } from "./settings.ts";

interface Action {
  label: string;
  /** Asked before: the answer that goes on. */
  confirm?: string;
  /** Fields of this action alone, shown with the question. */
  fields?: ComponentChildren;
  /** What the form shows afterwards. What is typed stays in the fields. */
  run(values: Values): Promise<ComponentChildren>;
}

interface Props {
  title: string;
  explanation?: ComponentChildren;
  actions: readonly Action[];
  /** The answer to `confirm` that changes nothing. */
  no?: string;
  isWide?: boolean;
  /** Whether only the title is shown at first. */
  isFolded?: boolean;
  /** When it is unfolded. */
  onUnfold?: () => void;
  /** The fields. */
  children?: ComponentChildren;
  /** Shown below the form. */
  below?: ComponentChildren;
}

/** A form that changes something, or that asks for what is logged when it is read. A board has none. */
export function ActionCard(props: Props) {
  const { title, explanation, actions, no, isWide, isFolded, onUnfold, children, below } = props;
  const heading = useId();
  const [asked, setAsked] = useState<Action>();
  const [said, setSaid] = useState<{ text: ComponentChildren; isBad: boolean }>();
  const [isRunning, setRunning] = useState(false);
  if (usePinned() !== undefined) return null;
  const run = async (action: Action, form: HTMLFormElement): Promise<void> => {
    setRunning(true);
    try {
      const text = await action.run(valuesOf(form));
      setSaid(text === undefined ? undefined : { text, isBad: false });
      setAsked(undefined);
    } catch (error) {
      const hint = error instanceof InsightsError && error.hint ? `. ${error.hint}` : "";
      setSaid({ text: `${messageOf(error)}${hint}`, isBad: true });
    } finally {
      setRunning(false);
    }
  };
  const content = (
    <>
      {typeof explanation === "string" ? <p class="note">{explanation}</p> : explanation}
      {actions.length > 0 && (
        <form
          class="settings"
          aria-labelledby={heading}
          onSubmit={(event) => {
            event.preventDefault();
            const { value } = event.submitter as HTMLButtonElement;
            const action = asked ?? actions[Number(value)];
            if (action === undefined) return;
            if (action.confirm !== undefined && asked === undefined) setAsked(action);
            else void run(action, event.currentTarget);
          }}
        >
          {children}
          {asked === undefined ? (
            actions.map(({ label }, index) => (
              <button key={label} type="submit" value={index} class={index === 0 ? "" : "quiet"} disabled={isRunning}>
                {label}
              </button>
            ))
          ) : (
            <>
              {asked.fields}
              <button type="submit" class="danger" disabled={isRunning}>
                {asked.confirm}
              </button>
              <button type="button" class="quiet" onClick={() => setAsked(undefined)}>
                {no}
              </button>
            </>
          )}
        </form>
      )}
      <p class={said?.isBad ? "note bad" : "note"} role="status">
        {said?.text}
      </p>
      {below}
    </>
  );
  if (isFolded) {
    return (
      <details class="card wide" onToggle={({ currentTarget }) => currentTarget.open && onUnfold?.()}>
        <summary id={heading}>{title}</summary>
        {content}
      </details>
    );
  }
  return (
    <section class={`card${isWide ? " wide" : ""}`} aria-labelledby={heading}>
      <header>
        <h2 id={heading}>{title}</h2>
      </header>
      {content}
    </section>
  );
}
