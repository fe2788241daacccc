create or replace function privacy.pseudonym(person_id bigint, project text default 'analysts')
returns text
language plpgsql
stable
-- A definer: no role may read the key.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_key constant bytea := privacy._pseudonym_key(pseudonym.project);
  v_halves bigint[];
begin
  if pseudonym.person_id is null or pseudonym.person_id = 0 then
    return null;
  end if;
  v_halves := privacy._permute(array[0, pseudonym.person_id], v_key, '{1,2,3,4}');
  return encode(int8send(v_halves[1]) || int8send(v_halves[2]), 'hex');
end;
$$;

comment on function privacy.pseudonym(bigint, text) is $$
@behavior -queryField
Returns the pseudonym of a person in the data sets of a project: 32 hexadecimal digits; null for person 0.
It is the key of the person, a number that is drawn from a sequence, encrypted under a random key of the project that
no role can read: a code that is not derived from information about her (34 CFR 99.31(b)), and that cannot be compared
with the pseudonyms of another project. Equal as long as the person is not merged and `privacy.rotate_pseudonyms` is not
called. After a merge, the people have one pseudonym; `privacy.reidentify` finds the person by each of the former ones.
For those who prepare data for analysts, in place of names and keys. Errors: CF002 for an unknown project.
$$;

grant execute on function privacy.pseudonym(bigint, text) to insights_admin, insights_worker;
