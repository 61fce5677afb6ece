using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Numerics;

namespace NodeAgent.Network;

/// <summary>An address range in CIDR notation (RFC 4632, RFC 4291): the network address, no host bits set.</summary>
internal readonly record struct Cidr
{
    private Cidr(IPAddress address, int prefix)
    {
        Address = address;
        Prefix = prefix;
    }

    public IPAddress Address { get; }

    public int Prefix { get; }

    public bool IsIPv6 => Address.AddressFamily == AddressFamily.InterNetworkV6;

    /// <summary>Number of addresses, the network and broadcast addresses of IPv4 included.</summary>
    public BigInteger Size => BigInteger.One << ((IsIPv6 ? 128 : 32) - Prefix);

    /// <exception cref="FormatException">Says what is wrong; host bits are named with the range that was probably meant.</exception>
    public static Cidr Parse(string text)
    {
        var slash = text.IndexOf('/', StringComparison.Ordinal);
        if (slash < 0 || !TryParseAddress(text[..slash], out var address)
            || !int.TryParse(text.AsSpan(slash + 1), NumberStyles.None, CultureInfo.InvariantCulture, out var prefix)
            || prefix > (address.AddressFamily == AddressFamily.InterNetworkV6 ? 128 : 32))
        {
            throw new FormatException($"'{text}' is not a CIDR range; expected an address and a prefix length, as in 10.0.0.0/16");
        }

        var bits = ToInteger(address);
        var hostBits = (address.AddressFamily == AddressFamily.InterNetworkV6 ? 128 : 32) - prefix;
        var network = (bits >> hostBits) << hostBits;
        return network == bits
            ? new(address, prefix)
            : throw new FormatException(
                $"'{text}' has host bits set; did you mean {FromInteger(network, address.AddressFamily)}/{prefix.ToString(CultureInfo.InvariantCulture)}?");
    }

    public bool Contains(IPAddress address) =>
        address.AddressFamily == Address.AddressFamily && ToInteger(address) >> HostBits == ToInteger(Address) >> HostBits;

    public bool Contains(Cidr other) => other.IsIPv6 == IsIPv6 && Prefix <= other.Prefix && Contains(other.Address);

    public bool Overlaps(Cidr other) => other.IsIPv6 == IsIPv6 && (Prefix <= other.Prefix ? Contains(other.Address) : other.Contains(Address));

    /// <param name="index">0 is the network address itself.</param>
    /// <exception cref="ArgumentOutOfRangeException">The range has no such address.</exception>
    public IPAddress this[int index] => index >= 0 && index < Size
        ? FromInteger(ToInteger(Address) + index, Address.AddressFamily)
        : throw new ArgumentOutOfRangeException(nameof(index), index, $"{this} has {Size} addresses");

    /// <summary>Of IPv4: first and last address as numbers.</summary>
    public (uint First, uint Last) Bounds
    {
        get
        {
            var first = BinaryPrimitives.ReadUInt32BigEndian(Address.GetAddressBytes());
            return (first, (uint)(first + (1UL << (32 - Prefix)) - 1));
        }
    }

    /// <param name="first">Of IPv4; a multiple of the range's size.</param>
    public static Cidr IPv4(uint first, int prefix) => new(FromInteger(first, AddressFamily.InterNetwork), prefix);

    /// <summary>One of the equal parts that a longer prefix makes of it.</summary>
    public Cidr Part(int index, int prefix) => IPv4((uint)(Bounds.First + ((ulong)index << (32 - prefix))), prefix);

    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Address}/{Prefix}");

    private int HostBits => (IsIPv6 ? 128 : 32) - Prefix;

    // IPAddress.Parse also takes "10.1" and "0x0a000001" (inet_aton); a range written so is a mistake.
    private static bool TryParseAddress(string text, [NotNullWhen(true)] out IPAddress? address)
    {
        if (text.Contains(':', StringComparison.Ordinal))
        {
            return IPAddress.TryParse(text, out address) && !text.Contains('%', StringComparison.Ordinal);
        }

        address = null;
        Span<byte> bytes = stackalloc byte[4];
        var octets = text.Split('.');
        for (var i = 0; i < octets.Length && i < 4; i++)
        {
            if (octets[i].Length > 3 || (octets[i].Length > 1 && octets[i][0] == '0')
                || !byte.TryParse(octets[i], NumberStyles.None, CultureInfo.InvariantCulture, out bytes[i]))
            {
                return false;
            }
        }

        address = octets.Length == 4 ? new IPAddress(bytes) : null;
        return address is not null;
    }

    private static BigInteger ToInteger(IPAddress address) => new(address.GetAddressBytes(), isUnsigned: true, isBigEndian: true);

    private static IPAddress FromInteger(BigInteger value, AddressFamily family)
    {
        var bytes = new byte[family == AddressFamily.InterNetworkV6 ? 16 : 4];
        var digits = value.ToByteArray(isUnsigned: true, isBigEndian: true);
        digits.CopyTo(bytes, bytes.Length - digits.Length);
        return new IPAddress(bytes);
    }
}
