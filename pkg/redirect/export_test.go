package redirect

// Owner is for tests of the quota.
var Owner = owner
