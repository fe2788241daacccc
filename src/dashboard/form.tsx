import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { useLocation } from "preact-iso";
import { type Settings, usePinned } from "./settings.ts";

export type Values = Readonly<Record<string, string>>;

/** The fields that are filled, by name. */
export function valuesOf(form: HTMLFormElement): Values {
  const filled = [...new FormData(form)].flatMap(([name, value]) =>
    typeof value === "string" && value.trim() !== "" ? [[name, value.trim()] as const] : [],
  );
  return Object.fromEntries(filled);
}

interface FormProps {
  label: string;
  /** Settings of the address that have no field. */
  fixed: Settings;
  children: (settings: Settings) => ComponentChildren;
}

/**
 * Fields of which each is a setting of the address. A change is applied when a field is left, and what is typed stays
 * in the field whatever the server answers. Going back in the history fills the fields again. A board has none.
 */
export function SettingsForm({ label, fixed, children }: FormProps) {
  const { path, query, route } = useLocation();
  const shown = JSON.stringify(query);
  const applied = useRef(shown);
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    if (shown === applied.current) return;
    applied.current = shown;
    setTurn((turn) => turn + 1);
  }, [shown]);
  const apply = (form: HTMLFormElement): void => {
    const next = new URLSearchParams({ ...fixed, ...valuesOf(form) });
    const settings = JSON.stringify(Object.fromEntries(next));
    if (settings === applied.current) return;
    applied.current = settings;
    route(`${path}?${next}`);
  };
  if (usePinned() !== undefined) return null;
  return (
    <form
      key={turn}
      class="settings"
      aria-label={label}
      onChange={({ currentTarget }) => apply(currentTarget)}
      onSubmit={(event) => {
        event.preventDefault();
        apply(event.currentTarget);
      }}
    >
      {children(query)}
    </form>
  );
}

interface FieldProps {
  label: string;
  name: string;
  value?: string | undefined;
  /** Identifier of a list of names. */
  list?: string | undefined;
  placeholder?: string;
  type?: "text" | "date" | "number";
  isRequired?: boolean;
}

export function Field({ label, name, value, list, placeholder, type = "text", isRequired = false }: FieldProps) {
  return (
    <label>
      {label}
      <input
        name={name}
        type={type}
        {...(type === "number" ? { step: "any" } : {})}
        list={list}
        placeholder={placeholder}
        defaultValue={value ?? ""}
        required={isRequired}
        autocomplete="off"
        spellcheck={false}
        maxLength={500}
      />
    </label>
  );
}

interface ChoiceProps {
  label: string;
  name: string;
  value?: string | undefined;
  /** The first one is the default. */
  choices: Readonly<Record<string, string>> | readonly (readonly [value: string, text: string])[];
}

export function Choice({ label, name, value, choices }: ChoiceProps) {
  const entries = Array.isArray(choices) ? choices : Object.entries(choices);
  return (
    <label>
      {label}
      <select name={name}>
        {entries.map(([choice, text], index) => (
          <option key={choice} value={choice} selected={value === undefined ? index === 0 : value === choice}>
            {text}
          </option>
        ))}
      </select>
    </label>
  );
}

export function Tick({ label, name, value }: { label: string; name: string; value?: string | undefined }) {
  return (
    <label class="tick">
      <input type="checkbox" name={name} value="1" defaultChecked={value === "1"} />
      {label}
    </label>
  );
}

/** Names that fields offer. */
export function Names({ id, names }: { id: string; names: readonly (readonly [value: string, text?: string])[] }) {
  return (
    <datalist id={id}>
      {names.map(([value, text]) => (
        <option key={value} value={value}>
          {text}
        </option>
      ))}
    </datalist>
  );
}
