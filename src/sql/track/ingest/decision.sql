/*
 * Called for messages that are decisions only, so that these functions may read tables.
 */
create or replace function track._decided_preferences(properties jsonb, context jsonb)
returns jsonb
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_kind constant text := properties ->> 'eventType';
  v_scopes constant text[] := case jsonb_typeof(properties -> 'consentScopes')
    when 'array' then array(select jsonb_array_elements_text(properties -> 'consentScopes'))
  end;
  v_granted text[] := '{}';
  v_refused text[] := '{}';
begin
  case v_kind
    when 'allow_all' then
      v_granted := coalesce(v_scopes, array(select privacy.optional_purposes(to_grant => true)));
    when 'allow_selected' then
      v_granted := v_scopes;
      v_refused := array(select privacy.optional_purposes() except select unnest(v_scopes));
    when 'deny_all' then
      v_refused := array(select privacy.optional_purposes() union select unnest(v_scopes));
    when 'withdrawn' then
      v_refused := coalesce(nullif(v_scopes, '{}'), array(select privacy.optional_purposes()));
    -- Only what needs consent ends with it.
    when 'expired' then
      v_refused := array(
        select purpose.purpose
        from privacy.purpose
        where purpose.basis = 'consent'
          and purpose.purpose = any (coalesce(nullif(v_scopes, '{}'), array[purpose.purpose]))
      );
    -- Where the GDPR applies, silence is not a consent (recital 32).
    when 'implicit_consent' then
      v_granted := case when properties -> 'gdprApplies' = 'false' then coalesce(v_scopes, '{}') else '{}' end;
    else null;
  end case;

  return coalesce(
      (
        select jsonb_object_agg(decided.purpose, decided.granted)
        from (
          select unnest(v_refused) as purpose, false as granted
          union all
          select unnest(v_granted), true
        ) as decided
      ),
      '{}'
    )
    || case jsonb_typeof(properties -> 'categoryPreferences')
      when 'object' then properties -> 'categoryPreferences'
      else '{}'
    end
    || case jsonb_typeof(context #> '{consent,categoryPreferences}')
      when 'object' then context #> '{consent,categoryPreferences}'
      else '{}'
    end;
end;
$$;

comment on function track._decided_preferences(jsonb, jsonb) is $$
Returns the purposes that a decision grants (true) or refuses (false).
They are the `categoryPreferences` of its context and of its properties, and what Snowplow's `eventType` means for its
`consentScopes`. For a purpose in several places, the context has precedence over the properties, and both over
`eventType`. `allow_all`, `deny_all` and `withdrawn` without scopes, and `allow_selected` for those that are not in its
scopes, mean the purposes that a person can decide about. `expired` ends what needs consent; `pending` decides nothing,
and `implicit_consent` only where `gdprApplies` is false.
$$;

create or replace function track._decision_problem(event text, properties jsonb, context jsonb)
returns track.problem
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_kinds constant text[] := array[
    'allow_all', 'allow_selected', 'deny_all', 'pending', 'implicit_consent', 'withdrawn', 'expired'
  ];
  v_kind constant text := properties ->> 'eventType';
  v_scopes constant jsonb := nullif(properties -> 'consentScopes', 'null');
  v_purposes constant text[] := array(select purpose.purpose from privacy.purpose order by purpose.purpose);
  v_unknown text;
begin
  if v_kind is null and event = 'consent_preferences' or v_kind <> all (v_kinds) then
    return row(
      'CF001',
      format('"properties.eventType" is %s', coalesce('"' || left(v_kind, 100) || '"', 'not given')),
      format('Send %s.', array_to_string(v_kinds, ', '))
    )::track.problem;
  end if;
  if v_scopes is not null and (
    jsonb_typeof(v_scopes) <> 'array' or jsonb_path_exists(v_scopes, 'strict $[*] ? (@.type() != "string")')
  ) or v_kind = 'allow_selected' and v_scopes is null
  then
    return row(
      'CF001',
      format('"properties.consentScopes" is %s', coalesce(left(v_scopes::text, 100), 'not given')),
      'Send a list of purposes.'
    )::track.problem;
  end if;
  v_unknown := (
    select named.purpose
    from (
      select jsonb_object_keys(
        case jsonb_typeof(properties -> 'categoryPreferences')
          when 'object' then properties -> 'categoryPreferences'
          else '{}'
        end
      )

      union all

      select jsonb_object_keys(
        case jsonb_typeof(context #> '{consent,categoryPreferences}')
          when 'object' then context #> '{consent,categoryPreferences}'
          else '{}'
        end
      )

      union all

      select jsonb_array_elements_text(v_scopes)
    ) as named (purpose)
    where named.purpose <> all (v_purposes)
    order by named.purpose
    limit 1
  );
  if v_unknown is not null then
    return row(
      'CF002',
      format('there is no purpose "%s"', left(v_unknown, 100)),
      coalesce(
        'The nearest name is "' || common.nearest_name(v_unknown, v_purposes) || '".',
        format('The purposes are %s.', array_to_string(v_purposes, ', '))
      )
    )::track.problem;
  end if;
  return null;
end;
$$;

comment on function track._decision_problem(text, jsonb, jsonb) is $$
Returns the error of a decision; null when it is valid.
The errors are an invalid `eventType` or `consentScopes`, and a purpose that does not exist.
$$;

create or replace function track._birth_date(birthday text)
returns date
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if birthday ~ '^(1[89]|[2-9]\d)\d\d-\d\d-\d\d($|[T ])' then
    return make_date(left(birthday, 4)::int, substr(birthday, 6, 2)::int, substr(birthday, 9, 2)::int);
  end if;
  return null;
exception
  when datetime_field_overflow then
    return null;
end;
$$;

comment on function track._birth_date(text) is $$
Returns the date of a trait `birthday` in ISO 8601; null for another text.
$$;
