-- Follows found.sql where the filter names ids, $11: said so that the index is asked for them. Index: the primary keys.
  AND j.id = ANY ($11::bigint[])
