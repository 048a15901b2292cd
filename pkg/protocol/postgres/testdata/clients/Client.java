// What a Java job does with the PostgreSQL JDBC driver.
import java.io.StringReader;
import java.io.StringWriter;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import org.postgresql.PGConnection;

public class Client {
    static void show(String label, ResultSet rows) throws SQLException {
        StringBuilder line = new StringBuilder(label);
        while (rows.next()) {
            for (int i = 1; i <= rows.getMetaData().getColumnCount(); i++) {
                line.append(' ').append(rows.getMetaData().getColumnTypeName(i)).append('=').append(rows.getString(i));
            }
        }
        System.out.println(line);
    }

    public static void main(String[] args) throws Exception {
        try (Connection conn = DriverManager.getConnection(args[0]); Statement statement = conn.createStatement()) {
            show("simple", statement.executeQuery("SELECT 1, 'ü', NULL::text, now() > '2020-01-01'"));
            statement.execute("CREATE TEMP TABLE t (a int PRIMARY KEY, b text, c numeric)");
            try (PreparedStatement insert = conn.prepareStatement("INSERT INTO t VALUES (?, ?, ?)")) {
                for (int i = 0; i < 300; i++) {
                    insert.setInt(1, i);
                    insert.setString(2, "x".repeat(i % 20));
                    insert.setBigDecimal(3, new java.math.BigDecimal("1.5"));
                    insert.addBatch();
                }
                System.out.println("batch " + insert.executeBatch().length);
            }
            // From the fifth run on the driver names the statement, and reads binary.
            try (PreparedStatement query = conn.prepareStatement("SELECT a, b, c FROM t WHERE a = ?")) {
                for (int i = 0; i < 8; i++) {
                    query.setInt(1, i);
                    show("prepared", query.executeQuery());
                }
            }
            try {
                statement.execute("INSERT INTO t VALUES (1, '', 0)");
            } catch (SQLException e) {
                System.out.println("error " + e.getSQLState());
            }
            conn.setAutoCommit(false);
            statement.setFetchSize(40); // a portal, suspended again and again
            long sum = 0;
            try (ResultSet rows = statement.executeQuery("SELECT a FROM t ORDER BY a")) {
                while (rows.next()) {
                    sum += rows.getLong(1);
                }
            }
            System.out.println("portal " + sum);
            try {
                statement.execute("SELECT 1/0");
            } catch (SQLException e) {
                System.out.println("error " + e.getSQLState());
            }
            try {
                statement.execute("SELECT 1");
            } catch (SQLException e) {
                System.out.println("aborted " + e.getSQLState());
            }
            conn.rollback();
            var copy = conn.unwrap(PGConnection.class).getCopyAPI();
            System.out.println("copied " + copy.copyIn("COPY t FROM STDIN", new StringReader("1000\tone\t1\n1001\ttwo\t2\n")));
            StringWriter out = new StringWriter();
            copy.copyOut("COPY (SELECT * FROM t WHERE a > 900 ORDER BY a) TO STDOUT", out);
            System.out.println(out);
            conn.commit();
            show("metadata", conn.getMetaData().getPrimaryKeys(null, null, "t"));
        }
    }
}
