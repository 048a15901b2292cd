import java.sql.*;

/** Queries as a text, prepared on the server, and through a cursor. Arguments: a port. */
public class Client {
    public static void main(String[] args) throws SQLException {
        String url = "jdbc:mariadb://127.0.0.1:" + args[0] + "/shop?user=job&password=whatever&useServerPrepStmts=";
        for (String prepared : new String[] {"false", "true"}) {
            try (Connection conn = DriverManager.getConnection(url + prepared)) {
                try (PreparedStatement s = conn.prepareStatement("SELECT id, name, email, pay FROM customers WHERE id = ?")) {
                    s.setInt(1, 1);
                    ResultSet r = s.executeQuery();
                    r.next();
                    System.out.println(r.getInt(1) + " " + r.getString(2) + " " + r.getString(3) + " " + r.getString(4));
                }
                conn.setAutoCommit(false);
                try (PreparedStatement s = conn.prepareStatement("SELECT email, id FROM customers ORDER BY id")) {
                    s.setFetchSize(3);
                    ResultSet r = s.executeQuery();
                    int rows = 0;
                    while (r.next()) {
                        if (!r.getString(1).equals("[redacted]")) {
                            System.out.println("shown: " + r.getString(1));
                        }
                        rows++;
                    }
                    System.out.println(rows + " rows");
                }
                try (PreparedStatement s = conn.prepareStatement("INSERT INTO orders (id, item) VALUES (?, ?)")) {
                    for (int i = 0; i < 3; i++) {
                        s.setInt(1, 1000 + i);
                        s.setString(2, "batch");
                        s.addBatch();
                    }
                    System.out.println(s.executeBatch().length + " in a batch");
                }
                conn.rollback();
                try (Statement s = conn.createStatement()) {
                    s.execute("DROP TABLE orders");
                } catch (SQLException e) {
                    System.out.println(e.getErrorCode() + " " + e.getSQLState());
                }
            }
        }
    }
}
