// pgjdbc: server-side prepared statements, batches, fetch size, COPY, large objects, notifications.

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.sql.*;
import java.util.*;
import java.util.concurrent.*;
import org.postgresql.PGConnection;
import org.postgresql.largeobject.*;
import org.postgresql.util.PSQLException;

public class Pgjdbc {
    static void check(boolean condition, String what) {
        if (!condition) throw new AssertionError(what);
    }

    static void equal(Object got, Object wanted, String what) {
        check(Objects.equals(got, wanted), what + ": got " + got + ", wanted " + wanted);
    }

    static Connection connect(String... more) throws SQLException {
        String url = "jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/"
            + System.getenv("PGDATABASE") + "?sslmode=verify-full&sslrootcert=" + System.getenv("PGSSLROOTCERT")
            + "&prepareThreshold=3&" + String.join("&", more);
        return DriverManager.getConnection(url, System.getenv("PGUSER"), System.getenv("PGPASSWORD"));
    }

    static Object value(Connection c, String sql) throws SQLException {
        try (Statement s = c.createStatement(); ResultSet r = s.executeQuery(sql)) {
            r.next();
            return r.getObject(1);
        }
    }

    /** Past the threshold the driver names its statements; six clients share two server connections. */
    static void preparedStatements() throws Exception {
        ExecutorService workers = Executors.newFixedThreadPool(6);
        List<Future<Void>> all = new ArrayList<>();
        for (int worker = 1; worker <= 6; worker++) {
            int number = worker;
            all.add(workers.submit(() -> {
                try (Connection c = connect();
                     PreparedStatement same = c.prepareStatement("SELECT name, born, score FROM users WHERE id = ?");
                     PreparedStatement own = c.prepareStatement("SELECT ?::int + " + number)) {
                    for (int round = 0; round < 20; round++) {
                        same.setInt(1, number * 6);
                        try (ResultSet r = same.executeQuery()) {
                            r.next();
                            equal(r.getString(1), "user " + number * 6, "one text");
                            equal(r.getDouble(3), number * 2.0, "a double");
                        }
                        own.setInt(1, round);
                        try (ResultSet r = own.executeQuery()) {
                            r.next();
                            equal(r.getInt(1), round + number, "a text of its own");
                        }
                    }
                }
                return null;
            }));
        }
        for (Future<Void> one : all) one.get();
        workers.shutdown();
    }

    static void batches() throws Exception {
        for (String rewrite : new String[] {"false", "true"}) {
            try (Connection c = connect("reWriteBatchedInserts=" + rewrite)) {
                c.setAutoCommit(false);
                try (PreparedStatement p = c.prepareStatement("INSERT INTO notes (owner, body) VALUES (?, ?)")) {
                    for (int n = 0; n < 500; n++) {
                        p.setInt(1, n % 300 + 1);
                        p.setString(2, "batch " + rewrite);
                        p.addBatch();
                    }
                    equal(p.executeBatch().length, 500, "a batch");
                }
                c.commit();
                equal(value(c, "SELECT count(*) FROM notes WHERE body = 'batch " + rewrite + "'"), 500L, "its rows");
                try (PreparedStatement p = c.prepareStatement("INSERT INTO notes (owner, body) VALUES (?, 'key')",
                        Statement.RETURN_GENERATED_KEYS)) {
                    for (int n = 1; n <= 10; n++) {
                        p.setInt(1, n);
                        p.addBatch();
                    }
                    p.executeBatch();
                    int keys = 0;
                    try (ResultSet r = p.getGeneratedKeys()) {
                        while (r.next()) keys++;
                    }
                    equal(keys, 10, "generated keys");
                }
                c.rollback();
                // Over the limit nothing of the batch stays.
                try (PreparedStatement p = c.prepareStatement("UPDATE users SET name = 'changed' WHERE id = ?")) {
                    for (int n = 1; n <= 150; n++) {
                        p.setInt(1, n);
                        p.addBatch();
                    }
                    p.executeBatch();
                    c.commit();
                    check(false, "a batch past the limit");
                } catch (SQLException e) {
                    equal(e.getSQLState(), "54000", "a batch past the limit");
                    c.rollback();
                }
                equal(value(c, "SELECT count(*) FROM users WHERE name = 'changed'"), 0L, "nothing of that batch");
                c.rollback();
            }
        }
    }

    static void fetchSize() throws Exception {
        try (Connection c = connect()) {
            c.setAutoCommit(false);
            for (int round = 0; round < 5; round++) {
                try (PreparedStatement p = c.prepareStatement("SELECT id FROM users ORDER BY id")) {
                    p.setFetchSize(40);
                    int seen = 0;
                    try (ResultSet r = p.executeQuery()) {
                        while (r.next()) equal(r.getInt(1), ++seen, "a portal in pieces");
                    }
                    equal(seen, 300, "a portal in pieces");
                }
                c.commit();
            }
        }
    }

    static void copies() throws Exception {
        try (Connection c = connect()) {
            org.postgresql.copy.CopyManager copy = c.unwrap(PGConnection.class).getCopyAPI();
            StringBuilder lines = new StringBuilder();
            for (int n = 0; n < 2000; n++) lines.append(n % 300 + 1).append("\tcopied ").append(n).append('\n');
            byte[] bytes = lines.toString().getBytes(StandardCharsets.UTF_8);
            equal(copy.copyIn("COPY notes (owner, body) FROM STDIN", new ByteArrayInputStream(bytes)), 2000L, "COPY in");
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            copy.copyOut("COPY (SELECT body FROM notes WHERE body LIKE 'copied%' ORDER BY id) TO STDOUT", out);
            equal(out.toString(StandardCharsets.UTF_8).split("\n").length, 2000, "COPY out");
            org.postgresql.copy.CopyIn given = copy.copyIn("COPY notes (owner, body) FROM STDIN");
            given.writeToCopy("1\tnever\n".getBytes(), 0, 8);
            given.cancelCopy();
            equal(value(c, "SELECT count(*) FROM notes WHERE body = 'never'"), 0L, "a COPY given up");
        }
    }

    static void largeObjects() throws Exception {
        byte[] content = new byte[100_000];
        for (int n = 0; n < content.length; n++) content[n] = (byte) (n * 7 % 251);
        try (Connection c = connect()) {
            c.setAutoCommit(false);
            LargeObjectManager manager = c.unwrap(PGConnection.class).getLargeObjectAPI();
            long oid = manager.createLO(LargeObjectManager.READWRITE);
            try (LargeObject object = manager.open(oid, LargeObjectManager.WRITE)) {
                object.write(content);
            }
            c.commit();
            try (LargeObject object = manager.open(oid, LargeObjectManager.READ)) {
                equal(object.size(), 100_000, "its size");
                object.seek(50_000);
                check(Arrays.equals(object.read(50_000), Arrays.copyOfRange(content, 50_000, 100_000)), "its second half");
            }
            c.commit();
            manager.delete(oid);
            c.commit();
        }
    }

    static void notifications() throws Exception {
        try (Connection listener = connect(); Connection sender = connect()) {
            listener.createStatement().execute("LISTEN news");
            sender.createStatement().execute("NOTIFY news, 'by pgjdbc'");
            org.postgresql.PGNotification[] heard = listener.unwrap(PGConnection.class).getNotifications(10_000);
            check(heard != null && heard.length == 1, "a notification");
            equal(heard[0].getParameter(), "by pgjdbc", "its payload");
        }
    }

    static void transactions() throws Exception {
        try (Connection c = connect(); Statement s = c.createStatement()) {
            c.setAutoCommit(false);
            s.executeUpdate("UPDATE users SET name = 'kept' WHERE id = 1");
            Savepoint point = c.setSavepoint("one");
            for (String[] wrong : new String[][] {{"SELECT 1 / 0", "22012"}, {"DELETE FROM users", "42501"}}) {
                try {
                    s.execute(wrong[0]);
                    check(false, wrong[0]);
                } catch (SQLException e) {
                    equal(e.getSQLState(), wrong[1], wrong[0]);
                }
                try {
                    s.execute("SELECT 1");
                    check(false, "a failed transaction answers");
                } catch (SQLException e) {
                    equal(e.getSQLState(), "25P02", "behind an error");
                }
                c.rollback(point);
            }
            c.commit();
            equal(value(c, "SELECT name FROM users WHERE id = 1"), "kept", "behind savepoints");
            c.rollback();
            c.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
            equal(value(c, "SHOW transaction_isolation"), "serializable", "isolation");
            c.rollback();
            c.setReadOnly(true);
            try {
                s.executeUpdate("UPDATE users SET name = 'x' WHERE id = 1");
                check(false, "a read-only transaction writes");
            } catch (SQLException e) {
                equal(e.getSQLState(), "25006", "a read-only transaction");
            }
            c.rollback();
        }
        // The driver rolls back to a savepoint of its own when a statement fails.
        try (Connection c = connect("autosave=always"); Statement s = c.createStatement()) {
            c.setAutoCommit(false);
            value(c, "SELECT 1");
            try {
                s.execute("DELETE FROM users");
                check(false, "DELETE without WHERE");
            } catch (SQLException e) {
                equal(e.getSQLState(), "42501", "a refusal with autosave");
            }
            equal(value(c, "SELECT 2"), 2, "autosave");
            c.commit();
        }
    }

    static void cancelling() throws Exception {
        try (Connection c = connect(); Statement s = c.createStatement()) {
            s.setQueryTimeout(1);
            try {
                s.execute("SELECT pg_sleep(30)");
                check(false, "a statement that timed out");
            } catch (SQLException e) {
                equal(e.getSQLState(), "57014", "a statement that timed out");
            }
            equal(value(c, "SELECT 1"), 1, "after a timeout");
        }
    }

    static void metadata() throws Exception {
        try (Connection c = connect()) {
            Set<String> tables = new HashSet<>();
            try (ResultSet r = c.getMetaData().getTables(null, "public", "%", new String[] {"TABLE"})) {
                while (r.next()) tables.add(r.getString("TABLE_NAME"));
            }
            check(tables.containsAll(List.of("users", "notes")), "tables: " + tables);
            try (ResultSet r = c.getMetaData().getPrimaryKeys(null, "public", "users")) {
                r.next();
                equal(r.getString("COLUMN_NAME"), "id", "a primary key");
            }
        }
    }

    static void policies() throws Exception {
        for (String mode : new String[] {"simple", "extended", "extendedForPrepared", "extendedCacheEverything"}) {
            try (Connection c = connect("preferQueryMode=" + mode)) {
                for (String[] wrong : new String[][] {
                        {"DELETE FROM users", "42501", "require-where/no-where"},
                        {"UPDATE users SET name = 'x' WHERE id <= 150", "54000", "table_limits/rows-changed-max"},
                        {"SELECT * FROM canary_keys", "42P01", null}}) {
                    try (Statement s = c.createStatement()) {
                        s.execute(wrong[0]);
                        check(false, wrong[0] + " was not refused");
                    } catch (PSQLException e) {
                        equal(e.getSQLState(), wrong[1], wrong[0]);
                        equal(e.getServerErrorMessage().getConstraint(), wrong[2], wrong[0]);
                        check(wrong[2] == null || e.getServerErrorMessage().getHint() != null, wrong[0] + ": no hint");
                    }
                    equal(value(c, "SELECT count(*) FROM users"), 300L, "users after " + wrong[0]);
                }
            }
        }
    }

    interface Part {
        void play() throws Exception;
    }

    public static void main(String[] args) throws Exception {
        Map<String, Part> parts = new LinkedHashMap<>();
        parts.put("prepared statements", Pgjdbc::preparedStatements);
        parts.put("batches", Pgjdbc::batches);
        parts.put("fetch size", Pgjdbc::fetchSize);
        parts.put("copies", Pgjdbc::copies);
        parts.put("large objects", Pgjdbc::largeObjects);
        parts.put("notifications", Pgjdbc::notifications);
        parts.put("transactions", Pgjdbc::transactions);
        parts.put("cancelling", Pgjdbc::cancelling);
        parts.put("metadata", Pgjdbc::metadata);
        parts.put("policies", Pgjdbc::policies);
        for (Map.Entry<String, Part> part : parts.entrySet()) {
            part.getValue().play();
            System.out.println(part.getKey());
        }
        System.out.println("fine");
    }
}
