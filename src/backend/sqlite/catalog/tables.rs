//! Tables of the catalog: those of PostgreSQL 15 that are asked for, with the columns that are asked for.

type Table = (&'static str, &'static str);

/// Schema pg_catalog.
pub(super) const PG_CATALOG: &[Table] = &[
    ("portcullis_filled", "main INTEGER, temp INTEGER"),
    (
        "pg_namespace",
        "oid OID, nspname TEXT, nspowner OID, nspacl TEXT",
    ),
    (
        "pg_class",
        "oid OID, relname TEXT, relnamespace OID, reltype OID, reloftype OID, relowner OID, relam OID, \
         relfilenode OID, reltablespace OID, relpages INT4, reltuples FLOAT4, reltoastrelid OID, relhasindex BOOLEAN, \
         relisshared BOOLEAN, relpersistence TEXT, relkind TEXT, relnatts INT2, relchecks INT2, relhasrules BOOLEAN, \
         relhastriggers BOOLEAN, relhassubclass BOOLEAN, relrowsecurity BOOLEAN, relforcerowsecurity BOOLEAN, \
         relispopulated BOOLEAN, relreplident TEXT, relispartition BOOLEAN, relacl TEXT, reloptions TEXT, relpartbound TEXT",
    ),
    (
        "pg_attribute",
        "attrelid OID, attname TEXT, atttypid OID, attstattarget INT4, attlen INT2, attnum INT2, attndims INT4, \
         atttypmod INT4, attbyval BOOLEAN, attstorage TEXT, attnotnull BOOLEAN, atthasdef BOOLEAN, attidentity TEXT, \
         attgenerated TEXT, attisdropped BOOLEAN, attislocal BOOLEAN, attinhcount INT4, attcollation OID, \
         attcompression TEXT, attacl TEXT, attoptions TEXT, attfdwoptions TEXT",
    ),
    ("pg_attrdef", "oid OID, adrelid OID, adnum INT2, adbin TEXT"),
    (
        "pg_type",
        "oid OID, typname TEXT, typnamespace OID, typowner OID, typlen INT2, typbyval BOOLEAN, typtype TEXT, \
         typcategory TEXT, typispreferred BOOLEAN, typisdefined BOOLEAN, typdelim TEXT, typrelid OID, typelem OID, \
         typarray OID, typinput TEXT, typnotnull BOOLEAN, typbasetype OID, typtypmod INT4, typndims INT4, \
         typcollation OID, typdefault TEXT",
    ),
    (
        "pg_index",
        "indexrelid OID, indrelid OID, indnatts INT2, indnkeyatts INT2, indisunique BOOLEAN, indisprimary BOOLEAN, \
         indisexclusion BOOLEAN, indimmediate BOOLEAN, indisclustered BOOLEAN, indisvalid BOOLEAN, indisready BOOLEAN, \
         indislive BOOLEAN, indisreplident BOOLEAN, indkey TEXT, indoption TEXT, indexprs TEXT, indpred TEXT",
    ),
    (
        "pg_constraint",
        "oid OID, conname TEXT, connamespace OID, contype TEXT, condeferrable BOOLEAN, condeferred BOOLEAN, \
         convalidated BOOLEAN, conrelid OID, contypid OID, conindid OID, conparentid OID, confrelid OID, \
         confupdtype TEXT, confdeltype TEXT, confmatchtype TEXT, conkey TEXT, confkey TEXT, conbin TEXT",
    ),
    (
        "pg_trigger",
        "oid OID, tgrelid OID, tgparentid OID, tgname TEXT, tgfoid OID, tgtype INT2, tgenabled TEXT, \
         tgisinternal BOOLEAN, tgconstraint OID",
    ),
    ("pg_am", "oid OID, amname TEXT, amtype TEXT"),
    (
        "pg_database",
        "oid OID, datname TEXT, datdba OID, encoding INT4, datlocprovider TEXT, datistemplate BOOLEAN, \
         datallowconn BOOLEAN, datconnlimit INT4, dattablespace OID, datcollate TEXT, datctype TEXT, daticulocale TEXT, \
         datacl TEXT",
    ),
    (
        "pg_roles",
        "oid OID, rolname TEXT, rolsuper BOOLEAN, rolinherit BOOLEAN, rolcreaterole BOOLEAN, rolcreatedb BOOLEAN, \
         rolcanlogin BOOLEAN, rolreplication BOOLEAN, rolconnlimit INT4, rolvaliduntil TEXT, rolbypassrls BOOLEAN",
    ),
    (
        "pg_user",
        "usename TEXT, usesysid OID, usecreatedb BOOLEAN, usesuper BOOLEAN",
    ),
    (
        "pg_auth_members",
        "roleid OID, member OID, grantor OID, admin_option BOOLEAN",
    ),
    (
        "pg_settings",
        "name TEXT, setting TEXT, unit TEXT, category TEXT, short_desc TEXT, context TEXT, vartype TEXT",
    ),
    (
        "pg_collation",
        "oid OID, collname TEXT, collnamespace OID, collowner OID",
    ),
    (
        "pg_tablespace",
        "oid OID, spcname TEXT, spcowner OID, spcacl TEXT, spcoptions TEXT",
    ),
    (
        "pg_proc",
        "oid OID, proname TEXT, pronamespace OID, proowner OID, prolang OID, prokind TEXT, prorettype OID, \
         proargtypes TEXT, proretset BOOLEAN, prosrc TEXT, provolatile TEXT, proacl TEXT, prosecdef BOOLEAN, \
         proparallel TEXT, proisstrict BOOLEAN",
    ),
    (
        "pg_description",
        "objoid OID, classoid OID, objsubid INT4, description TEXT",
    ),
    (
        "pg_shdescription",
        "objoid OID, classoid OID, description TEXT",
    ),
    (
        "pg_depend",
        "classid OID, objid OID, objsubid INT4, refclassid OID, refobjid OID, refobjsubid INT4, deptype TEXT",
    ),
    (
        "pg_enum",
        "oid OID, enumtypid OID, enumsortorder FLOAT4, enumlabel TEXT",
    ),
    (
        "pg_range",
        "rngtypid OID, rngsubtype OID, rngmultitypid OID, rngcollation OID, rngsubopc OID, rngcanonical TEXT, rngsubdiff TEXT",
    ),
    (
        "pg_inherits",
        "inhrelid OID, inhparent OID, inhseqno INT4, inhdetachpending BOOLEAN",
    ),
    (
        "pg_policy",
        "oid OID, polname TEXT, polrelid OID, polcmd TEXT, polpermissive BOOLEAN, polroles TEXT, polqual TEXT, polwithcheck TEXT",
    ),
    (
        "pg_publication",
        "oid OID, pubname TEXT, puballtables BOOLEAN",
    ),
    (
        "pg_publication_rel",
        "oid OID, prpubid OID, prrelid OID, prqual TEXT, prattrs TEXT",
    ),
    (
        "pg_publication_namespace",
        "oid OID, pnpubid OID, pnnspid OID",
    ),
    (
        "pg_statistic_ext",
        "oid OID, stxrelid OID, stxname TEXT, stxnamespace OID, stxkind TEXT, stxstattarget INT4",
    ),
    (
        "pg_rewrite",
        "oid OID, rulename TEXT, ev_class OID, ev_type TEXT, ev_enabled TEXT, is_instead BOOLEAN",
    ),
    (
        "pg_extension",
        "oid OID, extname TEXT, extowner OID, extnamespace OID, extversion TEXT",
    ),
    ("pg_language", "oid OID, lanname TEXT"),
    (
        "pg_sequence",
        "seqrelid OID, seqtypid OID, seqstart INT8, seqincrement INT8, seqmax INT8, seqmin INT8, seqcache INT8, seqcycle BOOLEAN",
    ),
    (
        "pg_foreign_table",
        "ftrelid OID, ftserver OID, ftoptions TEXT",
    ),
    ("pg_foreign_server", "oid OID, srvname TEXT"),
    ("pg_subscription", "oid OID, subname TEXT"),
    ("pg_event_trigger", "oid OID, evtname TEXT"),
    (
        "pg_tables",
        "schemaname TEXT, tablename TEXT, tableowner TEXT, tablespace TEXT, hasindexes BOOLEAN, hasrules BOOLEAN, hastriggers BOOLEAN, rowsecurity BOOLEAN",
    ),
    (
        "pg_views",
        "schemaname TEXT, viewname TEXT, viewowner TEXT, definition TEXT",
    ),
    (
        "pg_matviews",
        "schemaname TEXT, matviewname TEXT, matviewowner TEXT, definition TEXT",
    ),
    (
        "pg_indexes",
        "schemaname TEXT, tablename TEXT, indexname TEXT, tablespace TEXT, indexdef TEXT",
    ),
];

/// Schema information_schema.
pub(super) const INFORMATION_SCHEMA: &[Table] = &[
    (
        "schemata",
        "catalog_name TEXT, schema_name TEXT, schema_owner TEXT",
    ),
    (
        "tables",
        "table_catalog TEXT, table_schema TEXT, table_name TEXT, table_type TEXT, is_insertable_into TEXT",
    ),
    (
        "columns",
        "table_catalog TEXT, table_schema TEXT, table_name TEXT, column_name TEXT, ordinal_position INT4, \
         column_default TEXT, is_nullable TEXT, data_type TEXT, character_maximum_length INT4, numeric_precision INT4, \
         numeric_scale INT4, datetime_precision INT4, udt_schema TEXT, udt_name TEXT, is_identity TEXT, is_generated TEXT",
    ),
    (
        "table_constraints",
        "constraint_catalog TEXT, constraint_schema TEXT, constraint_name TEXT, table_catalog TEXT, table_schema TEXT, \
         table_name TEXT, constraint_type TEXT, is_deferrable TEXT, initially_deferred TEXT",
    ),
    (
        "key_column_usage",
        "constraint_catalog TEXT, constraint_schema TEXT, constraint_name TEXT, table_catalog TEXT, table_schema TEXT, \
         table_name TEXT, column_name TEXT, ordinal_position INT4, position_in_unique_constraint INT4",
    ),
    (
        "constraint_column_usage",
        "table_catalog TEXT, table_schema TEXT, table_name TEXT, column_name TEXT, constraint_catalog TEXT, \
         constraint_schema TEXT, constraint_name TEXT",
    ),
    (
        "referential_constraints",
        "constraint_catalog TEXT, constraint_schema TEXT, constraint_name TEXT, unique_constraint_schema TEXT, \
         unique_constraint_name TEXT, match_option TEXT, update_rule TEXT, delete_rule TEXT",
    ),
    (
        "views",
        "table_catalog TEXT, table_schema TEXT, table_name TEXT, view_definition TEXT",
    ),
];
