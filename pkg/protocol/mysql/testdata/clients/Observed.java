import java.sql.*;

/** Queries in each way that the driver has, and changes what it may. Arguments: a port. */
public class Observed {
    public static void main(String[] args) throws SQLException {
        String url = "jdbc:mariadb://127.0.0.1:" + args[0] + "/shop?user=app&password=app-secret&allowMultiQueries=true&";
        for (String way : new String[] {"useServerPrepStmts=false", "useServerPrepStmts=true&useBulkStmts=true", "useServerPrepStmts=true&useBulkStmts=false&usePipelineAuth=true"}) {
            try (Connection conn = DriverManager.getConnection(url + way)) {
                try (PreparedStatement s = conn.prepareStatement("SELECT id, name, email, pay FROM customers WHERE id = ?")) {
                    for (int i = 1; i < 4; i++) {
                        s.setInt(1, i);
                        ResultSet r = s.executeQuery();
                        r.next();
                        System.out.println(r.getInt(1) + " " + r.getString(2) + " " + r.getString(3) + " " + r.getString(4));
                    }
                }
                conn.setAutoCommit(false);
                try (PreparedStatement s = conn.prepareStatement("SELECT email, id FROM customers ORDER BY id")) {
                    s.setFetchSize(3);
                    ResultSet r = s.executeQuery();
                    int rows = 0;
                    while (r.next()) {
                        rows++;
                    }
                    System.out.println(rows + " rows");
                }
                try (PreparedStatement s = conn.prepareStatement("INSERT INTO orders (id, item) VALUES (?, ?)")) {
                    for (int i = 0; i < 300; i++) {
                        s.setInt(1, 1000 + i);
                        s.setString(2, "batch");
                        s.addBatch();
                    }
                    System.out.println(s.executeBatch().length + " in a batch");
                }
                conn.rollback();
                try (Statement s = conn.createStatement()) {
                    s.execute("SELECT 1; SELECT 'two', 2");
                    System.out.println(s.getMoreResults());
                    for (int i = 0; i < 40; i++) {
                        s.addBatch("UPDATE customers SET notes = 'n" + i + "' WHERE id = " + (i % 20 + 1));
                    }
                    System.out.println(s.executeBatch().length + " in another");
                    s.execute("SELECT no_such_column");
                } catch (SQLException e) {
                    System.out.println(e.getErrorCode() + " " + e.getSQLState());
                }
                conn.rollback();
            }
        }
        try (Connection conn = DriverManager.getConnection(url); Statement s = conn.createStatement()) {
            System.out.println(s.execute("DROP TABLE codes"));
        }
    }
}
