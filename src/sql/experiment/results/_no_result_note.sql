create or replace function experiment._no_result_note()
returns text
language sql
immutable
parallel safe
return 'There is no result: too few people or values, no variance, or extreme values.';

comment on function experiment._no_result_note() is $$
@behavior -*
Returns the note of a comparison that is missing, for analysts: the reason may name a number of people or values.
$$;

grant execute on function experiment._no_result_note() to insights_reader;
