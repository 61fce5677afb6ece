using System.Net;

namespace NodeAgent.Issuer;

/// <summary>
/// Lines that strangers can have written into the audit, as many as they like: of each address some, then one that says how many more there were. What was
/// granted and what was refused to somebody who had shown who he is never comes here.
/// </summary>
internal sealed class Strangers : IDisposable
{
    // Addresses that are told apart; those beyond share one account. Some 100 bytes each.
    private const int MostAddresses = 4096;

    private readonly IssuerLimits _limits;
    private readonly TimeProvider _time;
    private readonly Func<AuditEntry, bool> _write;
    private readonly Lock _gate = new();
    private readonly Dictionary<IPAddress, Account> _accounts = [];
    private readonly ITimer _timer;
    private long _lost;

    /// <param name="write">False when there is no room for it.</param>
    public Strangers(IssuerLimits limits, TimeProvider time, Func<AuditEntry, bool> write)
    {
        (_limits, _time, _write) = (limits, time, write);
        _timer = time.CreateTimer(_ => Close(), null, limits.StrangersTime, limits.StrangersTime);
    }

    /// <summary>Refusals that the audit has no line of its own for.</summary>
    public long Lost => Interlocked.Read(ref _lost);

    public void Write(IPAddress source, AuditEntry entry)
    {
        lock (_gate)
        {
            var key = _accounts.ContainsKey(source) || _accounts.Count < MostAddresses ? source : IPAddress.Any;
            if (!_accounts.TryGetValue(key, out var account))
            {
                _accounts[key] = account = new Account();
            }

            account.Lines++;
            if (account.Lines > _limits.StrangersLines)
            {
                account.LeftOut++;
            }
            else if (_write(entry))
            {
                return;
            }
        }

        Interlocked.Increment(ref _lost);
    }

    /// <summary>What was left out of the time that is over, and all begin anew.</summary>
    public void Close()
    {
        lock (_gate)
        {
            foreach (var (address, account) in _accounts)
            {
                if (account.LeftOut > 0)
                {
                    _write(new AuditEntry
                    {
                        At = _time.GetUtcNow(),
                        Decision = "refused",
                        Code = "left-out",
                        Reason = $"{account.LeftOut} more of this address within {_limits.StrangersTime.TotalSeconds:0} s, which showed no proof",
                        Remote = address.Equals(IPAddress.Any) ? "others" : address.ToString(),
                        LeftOut = account.LeftOut,
                    });
                }
            }

            _accounts.Clear();
        }
    }

    public void Dispose()
    {
        _timer.Dispose();
        Close();
    }

    private sealed class Account
    {
        public int Lines { get; set; }

        public int LeftOut { get; set; }
    }
}
