create or replace function analytics.annotate(
  title text,
  starts_at timestamptz,
  ends_at timestamptz default null,
  kind text default 'other',
  description text default null
)
returns analytics.annotation
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
as $$
declare
  v_annotation analytics.annotation;
begin
  -- An invoker: the row policies of the table apply.
  if coalesce(btrim(annotate.title), '') = '' then
    perform common.refuse('CF001', 'the annotation has no title', 'Give a title, such as "Release 4.2".');
  end if;
  if length(annotate.title) > 200 then
    perform common.refuse('CF008', format('the title has %s characters', length(annotate.title)),
      'It can have at most 200. Write more into the description.');
  end if;
  if length(annotate.description) > 2000 then
    perform common.refuse('CF008', format('the description has %s characters', length(annotate.description)),
      'It can have at most 2,000.');
  end if;
  if annotate.kind is null or annotate.kind not in ('release', 'term', 'holiday', 'other') then
    perform common.refuse('CF001', format('kind is "%s"', coalesce(left(annotate.kind, 100), 'null')),
      'Use release, term, holiday or other.');
  end if;
  if annotate.starts_at is null or not isfinite(annotate.starts_at) or not isfinite(annotate.ends_at)
    or annotate.ends_at <= annotate.starts_at
  then
    perform common.refuse(
      'CF001',
      format(
        'the annotation is from %s until %s',
        coalesce(annotate.starts_at::text, 'null'), coalesce(annotate.ends_at::text, 'null')
      ),
      'Give a time for starts_at, and a later one for ends_at; null annotates a single time.'
    );
  end if;

  insert into analytics.annotation (kind, title, description, starts_at, ends_at, created_by)
  values (
    annotate.kind,
    btrim(annotate.title),
    nullif(btrim(annotate.description), ''),
    annotate.starts_at,
    annotate.ends_at,
    common.author()
  )
  returning * into v_annotation;
  return v_annotation;
end;
$$;

comment on function analytics.annotate(text, timestamptz, timestamptz, text, text) is $$
Annotates a time, or the period from `starts_at` until `ends_at` (exclusive), and returns the annotation.
`kind`: `release`, `term`, `holiday` or `other`. Analysts and instructors can read all annotations: do not write about
people. `analytics.remove_annotation` removes it.
Errors: CF001 for an invalid argument, CF008 for a title or description that is too long.
$$;

grant execute on function analytics.annotate(text, timestamptz, timestamptz, text, text)
to insights_analyst, insights_admin, insights_worker;
