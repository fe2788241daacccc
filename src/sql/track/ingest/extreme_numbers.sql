create or replace function track._holds_extreme_number(value jsonb)
returns boolean
language sql
immutable
parallel safe
return jsonb_path_exists(
  value,
  'strict $.** ? (@.type() == "number" && (@ > 1e308 || @ < -1e308 || @ != 0 && @ < 1e-307 && @ > -1e-307))'
);

comment on function track._holds_extreme_number(jsonb) is $$
Returns whether a value contains a number beyond double precision, at any depth.
The ten bytes of 1e131000 would become 131,000 bytes when converted to text.
$$;

create or replace function track._mark_extreme_numbers(messages jsonb)
returns jsonb
language sql
stable
parallel safe
begin atomic
  select jsonb_agg(
    case
      when jsonb_typeof(entry.message) = 'object' and track._holds_extreme_number(entry.message)
        then jsonb_build_object(
          'extreme', true,
          'messageId',
          case jsonb_typeof(entry.message -> 'messageId') when 'string' then entry.message -> 'messageId' end
        )
      else entry.message
    end
    order by entry.ordinality
  )
  from jsonb_array_elements(messages) with ordinality as entry (message, ordinality);
end;

comment on function track._mark_extreme_numbers(jsonb) is $$
Replaces messages with a number beyond double precision by `{"extreme": true, "messageId": …}`.
No other field of such a message is read, so that its numbers are not converted to text, also not in an error.
$$;
